#include "gda/checkpoint/model_folder.h"

#include <gtest/gtest.h>

#include "gda/checkpoint/hugging_face_config.h"
#include "gda/core/file.h"
#include "sample.h"
#include "scratch.h"

namespace gda::test {
namespace {

// config.json and the files a.safetensors (tensor x) and b.safetensors (tensor y).
void write_two_files(const Scratch& scratch) {
  const OwnedTensor tensor(DType::f32, {2, 3});
  write_safetensors(scratch / "a.safetensors", {source_of("x", tensor.tensor)});
  write_safetensors(scratch / "b.safetensors", {source_of("y", tensor.tensor)});
  write_text_file_atomically(scratch / "config.json",
                             to_hugging_face_config(sample_config(), DType::f32));
}

std::string fault_of(const Scratch& scratch, const std::string& index) {
  const auto path = scratch / "model.safetensors.index.json";
  write_text_file_atomically(path, index);
  std::string message = message_of<FormatError>([&] { ModelFolder folder(scratch.path()); });
  if (message.starts_with(path.string())) message.erase(0, path.string().size());
  return message;
}

TEST(ModelFolder, FollowsTheIndex) {
  const Scratch scratch;
  write_two_files(scratch);
  write_text_file_atomically(scratch / "model.safetensors.index.json",
                             R"({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})");
  const ModelFolder folder(scratch.path());
  EXPECT_EQ(folder.parameter_count(), 12);
  EXPECT_EQ(folder.files().size(), 2U);
  EXPECT_EQ(folder.at("y").file, 1U);
  EXPECT_EQ(message_of<FormatError>([&] { folder.at("z"); }),
            scratch.path().string() + " has no tensor z");
}

TEST(ModelFolder, RejectsAnIndexThatDoesNotFit) {
  const Scratch scratch;
  write_two_files(scratch);
  EXPECT_EQ(fault_of(scratch, "{}"),
            ": the key \"weight_map\" with the file of each tensor is missing");
  EXPECT_EQ(fault_of(scratch, R"({"weight_map": {"x": "../a.safetensors"}})"),
            ": the file of tensor x is \"../a.safetensors\", expected the name of a file beside "
            "it");
  EXPECT_EQ(fault_of(scratch, R"({"weight_map": {"x": "b.safetensors"}})"),
            ": tensor x should be in b.safetensors, but is not");
  write_safetensors(scratch / "b.safetensors", {});
  EXPECT_EQ(fault_of(scratch, R"({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})"),
            ": tensor y should be in b.safetensors, but is not");
  const OwnedTensor tensor(DType::f32, {1});
  write_safetensors(scratch / "a.safetensors",
                    {source_of("x", tensor.tensor), source_of("z", tensor.tensor)});
  EXPECT_EQ(fault_of(scratch, R"({"weight_map": {"x": "a.safetensors"}})"),
            ": tensor z of a.safetensors is not listed");
  write_safetensors(scratch / "b.safetensors", {source_of("x", tensor.tensor)});
  EXPECT_EQ(
      fault_of(scratch, R"({"weight_map": {"x": "a.safetensors", "w": "b.safetensors"}})"),
      scratch.path().string() + ": tensor x is in two files, a.safetensors and b.safetensors");
}

TEST(ModelFolder, TellsWhatIsMissing) {
  const Scratch scratch;
  EXPECT_EQ(message_of<FormatError>([&] { ModelFolder folder(scratch.path()); }),
            scratch.path().string() + " is not a model folder: it has no config.json");
  write_text_file_atomically(scratch / "config.json",
                             to_hugging_face_config(sample_config(), DType::f32));
  EXPECT_EQ(
      message_of<FormatError>([&] { ModelFolder folder(scratch.path()); }),
      scratch.path().string() + " has neither model.safetensors nor model.safetensors.index.json");
}

}  // namespace
}  // namespace gda::test
