#include "checkpoint/growth_json.h"

#include <gtest/gtest.h>

#include "gda/checkpoint/checkpoint_reader.h"
#include "gda/core/file.h"
#include "sample.h"
#include "scratch.h"
#include "thread_group.h"

namespace gda::test {
namespace {

constexpr const char* kQuery = "model.layers.0.self_attn.q_proj.weight";  // [8, 6]

GrowthState grown() {
  GrowthState state;
  state.origins.push_back(
      {.name = kQuery, .rows = {{5, 0}, {3, 40}}, .columns = {{4, 0}, {2, 70}}});
  state.origins.push_back({.name = "model.norm.weight", .rows = {{4, 0}, {2, 70}}, .columns = {}});
  state.origins.push_back(
      {.name = "model.embed_tokens.weight", .rows = {}, .columns = {{4, 0}, {2, 70}}});
  state.added = {"model.layers.0.self_attn.lambda_q1", kQuery};
  return state;
}

GrowthRamp ramp() {
  GrowthRamp result;
  result.from = sample_config();
  result.from.hidden_size = 4;
  result.from.intermediate_size = 7;
  result.from.num_hidden_layers = 1;
  result.from.attention.signal_heads = 1;
  result.mask.hidden = {{4, 6}};
  result.mask.feed_forward = {{0, 1}, {8, 10}};
  result.mask.heads = {{1, 3}};
  result.mask.layers = {{1, 2}};
  result.first_step = 70;
  result.steps = 50;
  return result;
}

class GrowthFile : public testing::Test {
 protected:
  static std::string write(Communicator& group, const SaveOptions& options,
                           const GrowthState& growth) {
    Sample sample(5, DType::f32, group.rank(), group.size());
    sample.contents().growth = growth;
    return save_checkpoint(group, options, sample.contents()).path.string();
  }

  std::string save(const GrowthState& growth) const {
    const auto alone = make_self_communicator();
    SaveOptions options;
    options.directory = scratch_.path();
    return write(*alone, options, growth);
  }

  // The message for a growth.json of this text.
  std::string fault(const std::string& text) const {
    return message_of<FormatError>([&] { parse_growth(text, "growth.json", folder_); });
  }
  // The message for these ranges of hidden.
  std::string range_fault(const std::string& ranges) const {
    GrowthState state;
    state.ramp = ramp();
    std::string text = growth_json(state);
    const std::string before = "\"hidden\":[[4,6]]";
    return fault(text.replace(text.find(before), before.size(), "\"hidden\":" + ranges));
  }

  Scratch scratch_;
  ModelFolder folder_{save({})};
};

TEST_F(GrowthFile, IsThereOnlyWhenSomethingHasGrown) {
  const std::string path = save({});
  EXPECT_FALSE(std::filesystem::exists(path + "/growth.json"));
  EXPECT_TRUE(CheckpointReader(path).growth().empty());
}

TEST_F(GrowthFile, ComesBackEqual) {
  GrowthState state = grown();
  EXPECT_EQ(CheckpointReader(save(state)).growth(), state);
  state.ramp = ramp();
  EXPECT_EQ(CheckpointReader(save(state)).growth(), state);
  state.origins.clear();
  const CheckpointReader reader(save(state));
  EXPECT_EQ(reader.growth(), state);
  const std::vector<WrittenFile>& files = reader.manifest().files;
  EXPECT_TRUE(std::any_of(files.begin(), files.end(),
                          [](const WrittenFile& file) { return file.name == "growth.json"; }));
}

TEST_F(GrowthFile, IsWrittenOnceByManyRanks) {
  SaveOptions options;
  options.directory = scratch_ / "many";
  run_ranks(3, [&](Communicator& group) { write(group, options, grown()); });
  EXPECT_EQ(newest_whole_checkpoint(options.directory)->growth(), grown());
}

TEST_F(GrowthFile, IsVerified) {
  const std::string path = save(grown());
  write_text_file_atomically(path + "/growth.json", read_text_file(path + "/growth.json") + "\n");
  const std::string message = message_of<FormatError>([&] { CheckpointReader reader(path); });
  EXPECT_NE(message.find("growth.json has"), std::string::npos) << message;
}

TEST_F(GrowthFile, NamesWhatIsWrongWithAnOrigin) {
  const auto origin = [](const std::string& fields) { return "{\"origins\": [{" + fields + "}]}"; };
  const std::string name = "\"name\": \"model.norm.weight\", ";
  EXPECT_EQ(fault("{}"), "growth.json: origins: the key is missing");
  EXPECT_EQ(fault("{\"origins\": []}"), "growth.json: added: the key is missing");
  EXPECT_EQ(fault("{\"origins\": [], \"added\": [\"head\"]}"),
            "growth.json: added[0]: the model has no parameter head");
  EXPECT_EQ(fault("{\"origins\": [], \"added\": [\"model.norm.weight\", \"model.norm.weight\"]}"),
            "growth.json: added[1]: model.norm.weight is there twice");
  EXPECT_EQ(fault("[]"), "growth.json: the whole: expected an object, got []");
  EXPECT_EQ(fault("{\"origins\": [], \"stage\": 1}"),
            "growth.json: the whole: there is no such key as \"stage\" here");
  EXPECT_EQ(fault(origin("\"name\": \"model.nrom.weight\", \"rows\": []")),
            "growth.json: origins[0].name: the model has no parameter model.nrom.weight");
  EXPECT_EQ(fault(origin("\"name\": 3, \"rows\": []")),
            "growth.json: origins[0].name: expected text, got 3");
  EXPECT_EQ(fault(origin(name + "\"rows\": 3")),
            "growth.json: origins[0].rows: expected a list, got 3");
  EXPECT_EQ(fault(origin(name + "\"rows\": [[6]]")),
            "growth.json: origins[0].rows[0]: expected two numbers, got [6]");
  EXPECT_EQ(fault(origin(name + "\"rows\": [[4, 0], [0, 3]]")),
            "growth.json: origins[0].rows[1][0]: expected a whole number of at least 1, got 0");
  EXPECT_EQ(fault(origin(name + "\"rows\": [[6, -1]]")),
            "growth.json: origins[0].rows[0][1]: expected a whole number of at least 0, got -1");
  EXPECT_EQ(fault(origin(name + "\"rows\": [[4, 0]]")),
            "growth.json: origins[0].rows: the runs cover 4 coordinates, the parameter's axis has "
            "6");
  EXPECT_EQ(fault(origin(name + "\"rows\": [[6, 0]], \"columns\": [[1, 2]]")),
            "growth.json: origins[0].columns: model.norm.weight has one axis, which is that of the "
            "rows");
  EXPECT_EQ(fault(origin("\"name\": \"" + std::string(kQuery) +
                         "\", \"rows\": [], \"columns\": [[4, 0], [9223372036854775807, 0]]")),
            "growth.json: origins[0].columns: the runs cover 11 coordinates, the parameter's axis "
            "has 6");
  const std::string entry = "{" + name + "\"rows\": []}";
  EXPECT_EQ(fault("{\"origins\": [" + entry + ", " + entry + "]}"),
            "growth.json: origins[1].name: model.norm.weight is there twice");
}

TEST_F(GrowthFile, NamesWhatIsWrongWithARamp) {
  EXPECT_EQ(range_fault("[[4, 7]]"),
            "growth.json: ramp.mask.hidden[0]: [4, 7) is not a range of the axis, which has 6 "
            "coordinates");
  EXPECT_EQ(range_fault("[[4, 4]]"),
            "growth.json: ramp.mask.hidden[0]: [4, 4) is not a range of the axis, which has 6 "
            "coordinates");
  EXPECT_EQ(range_fault("[[4, 5], [5, 6]]"),
            "growth.json: ramp.mask.hidden[1]: [5, 6) does not lie behind the range before it, [4, "
            "5), with a gap");
  EXPECT_EQ(range_fault("[[3, 6]]"),
            "growth.json: ramp.mask.hidden: 3 new coordinates, but the axis grew from 4 to 6");
  GrowthState state;
  state.ramp = ramp();
  state.ramp->steps = 0;
  EXPECT_EQ(fault(growth_json(state)),
            "growth.json: ramp.steps: expected a whole number of at least 1, got 0");
  state.ramp->steps = 1;
  state.ramp->mask = {};
  EXPECT_EQ(fault(growth_json(state)), "growth.json: ramp.mask: no axis has new coordinates");
  EXPECT_NE(fault("{\"origins\": [], \"added\": [], \"ramp\": {\"from\": {}, \"first_step\": 0, "
                  "\"steps\": 1}}")
                .find("growth.json: ramp.from: the key \"architectures\""),
            std::string::npos);
}

}  // namespace
}  // namespace gda::test
