// TensorBoard event files: scalars over steps, texts, and the hyper-parameters of a run.
//
// A record is u64 length, u32 masked CRC-32C of the length, an Event message, u32 masked CRC-32C of
// the message; masked(c) = rotate_right(c, 15) + 0xa282ead8.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gda/core/file.h"

namespace gda {

class EventFile {
 public:
  // Creates events.out.tfevents.<seconds>.<host>.<pid>.<n> in `directory`. For a run resumed at
  // resumed_step TensorBoard is told to forget what earlier files say of later steps. Throws
  // IoError.
  explicit EventFile(const std::filesystem::path& directory,
                     std::optional<std::int64_t> resumed_step = std::nullopt);

  // Collects a value; tags like "train/loss" make one chart each, in a group before the slash.
  void add(std::string tag, double value);
  // Writes the collected values as those of `step`. They are in the file when it returns.
  void write(std::int64_t step);
  // A page of Markdown, in the tab "Text".
  void write_text(const std::string& tag, const std::string& markdown);
  // Settings by name, as they are written in YAML, for the tab "HParams": numbers and truth values
  // by what they look like, anything else is text.
  void write_hyper_parameters(const std::map<std::string, std::string>& settings);

  const std::filesystem::path& path() const { return path_; }

 private:
  // A message Summary.Value with its metadata, at the step that the file begins with.
  void write_summary(const std::string& value);

  std::filesystem::path path_;
  FileWriter file_;
  std::int64_t first_step_;
  std::vector<std::pair<std::string, float>> values_;
};

}  // namespace gda
