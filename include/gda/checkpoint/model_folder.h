// A Hugging Face model folder: config.json with model.safetensors, or with
// model.safetensors.index.json and the files that it names. A checkpoint of gda is one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gda/checkpoint/safetensors.h"
#include "gda/model/model_config.h"
#include "gda/model/parameters.h"
#include "gda/model/region.h"

namespace gda {

class ModelFolder {
 public:
  struct Location {
    std::size_t file = 0;  // index into files()
    const StoredTensor* tensor = nullptr;
  };

  // Maps all files and checks their headers against the index. Throws IoError or FormatError naming
  // the file and the fault. Tensors that other programs store beside the parameters and that say
  // nothing new are skipped with a line in the log: tables of rotary embeddings, position ids, and
  // the output projection of a tied model where it equals the embedding (else FormatError). Where a
  // tied model has it alone, it is the embedding.
  explicit ModelFolder(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const ModelConfig& config() const { return config_; }
  const std::vector<SafetensorsFile>& files() const { return files_; }
  const std::map<std::string, Location, std::less<>>& tensors() const { return tensors_; }
  // FormatError if there is no tensor of that name.
  const Location& at(std::string_view name) const;
  // Elements of all tensors.
  std::int64_t parameter_count() const;

  // The whole of a parameter, converted to the type of `to` (f64, f32 or bf16, in CPU memory; may
  // have a row stride), whose shape it must have.
  void read_parameter(std::string_view name, const Tensor& to) const;
  // Elements [offset, offset + to.elements()) in row-major order. `to` is dense.
  void read_range(std::string_view name, std::int64_t offset, const Tensor& to) const;
  // The same of the box `region`, row-major in it.
  void read_range(std::string_view name, const Region& region, std::int64_t offset,
                  const Tensor& to) const;

  // Bytes of tensors that read_parameter and read_range have read so far.
  std::uint64_t bytes_read() const { return bytes_read_; }

  // Throws FormatError that lists the first differences unless the folder holds exactly these names
  // and shapes.
  void check_matches(const std::vector<ParameterSpec>& specs) const;

 private:
  void open_file(const std::string& name);
  void open_indexed(const std::filesystem::path& index);
  void find_tied_embedding();
  void skip_redundant();
  bool is_redundant(const std::string& name, const Location& location) const;

  std::filesystem::path path_;
  ModelConfig config_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Location, std::less<>> tensors_;
  mutable std::uint64_t bytes_read_ = 0;
};

}  // namespace gda
