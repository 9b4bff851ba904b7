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

// A folder with the embedding of a model and one tensor more.
void write_with(const Scratch& scratch, bool tied, const std::string& name, const Tensor& more) {
  ModelConfig config = sample_config();
  config.tie_word_embeddings = tied;
  static const OwnedTensor embedding(DType::f32, {4, 2});
  write_safetensors(
      scratch / "model.safetensors",
      {source_of(std::string(kEmbeddingName), embedding.tensor), source_of(name, more)});
  write_text_file_atomically(scratch / "config.json", to_hugging_face_config(config, DType::f32));
}

TEST(ModelFolder, SkipsWhatSaysNothingNew) {
  const Scratch scratch;
  const OwnedTensor table(DType::f32, {3});
  for (const char* name : {"model.layers.0.self_attn.rotary_emb.inv_freq",
                           "model.rotary_emb.cos_cached", "model.embeddings.position_ids"}) {
    write_with(scratch, false, name, table.tensor);
    EXPECT_EQ(ModelFolder(scratch.path()).tensors().size(), 1U) << name;
  }
  OwnedTensor head(DType::f32, {4, 2});
  write_with(scratch, true, std::string(kHeadName), head.tensor);
  EXPECT_EQ(ModelFolder(scratch.path()).parameter_count(), 8);
  write_with(scratch, false, std::string(kHeadName), head.tensor);
  EXPECT_EQ(ModelFolder(scratch.path()).parameter_count(), 16);
  static_cast<float*>(head.tensor.raw())[7] = 1;
  write_with(scratch, true, std::string(kHeadName), head.tensor);
  EXPECT_EQ(message_of<FormatError>([&] { ModelFolder folder(scratch.path()); }),
            scratch.path().string() +
                ": config.json ties lm_head.weight to model.embed_tokens.weight, but the two "
                "differ; if the model is meant to be untied, set tie_word_embeddings to false, "
                "else remove lm_head.weight");
  write_safetensors(scratch / "model.safetensors",
                    {source_of(std::string(kHeadName), head.tensor)});
  EXPECT_EQ(ModelFolder(scratch.path()).at(kEmbeddingName).tensor->elements(), 8);
  // Anything else may change what the model computes.
  write_with(scratch, false, "model.layers.0.self_attn.q_proj.bias", table.tensor);
  EXPECT_EQ(ModelFolder(scratch.path()).tensors().size(), 2U);
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
