// Memory that layers keep for backward, under tensor and context parallelism.
#include <gtest/gtest.h>

#include "layout.h"

namespace gda {
namespace {

using test::is_possible;
using test::Layout;
using test::layouts;
using test::PartOfBatch;
using test::ShardedCase;
using test::ShardedModel;
using test::WholeBatch;

// What layers keep is cut by both axes, up to the rounding of some 20 tensors to 64 bytes each, and
// lambda.
TEST(KeptMemory, WhatLayersKeepFallsWithTheRanks) {
  for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
    for (const ContextMethod method : {ContextMethod::automatic, ContextMethod::gather}) {
      ShardedCase a;
      a.recompute = recompute;
      a.method = method;
      const ModelConfig config = test::sharded_config(a, test::world().size() == 3 ? 3 : 4);
      const WholeBatch batch(config, a.batch, a.documents);
      const auto kept = [&](ShardedModel& model) {
        Arena arena(Device{}, std::size_t{1} << 20);  // one block
        const PartOfBatch part(batch, model.cut());
        const ForwardState state =
            model.decoders.front().forward(model.context(), arena, part.view, {}, {});
        return static_cast<double>(arena.mark().used);
      };
      ShardedModel whole(a, config, 1, {});
      const double all = kept(whole);
      for (const auto& [tensor, context] : layouts()) {
        if (!is_possible(a, context)) continue;
        const Layout layout(tensor, context);
        ShardedModel model(a, config, 1, layout.groups(method));
        const double rounding = 3 * 20 * 64;
        EXPECT_LE(kept(model), all / test::world().size() + rounding) << layout.str();
      }
    }
  }
}

}  // namespace
}  // namespace gda
