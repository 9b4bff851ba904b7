// Attention by tiles of queries and keys: what their borders, masks and copies ahead may get wrong.
// The widths and the type are those of the tensor cores' kernels; other kernels pass as well.
#include <functional>

#include "attention_cases.h"

namespace gda::test {
namespace {

// `heads` query heads on one key: a tile of queries has rows of all of them.
HeadMapping pack_of(int heads, int value_factor = 1) {
  const auto count = static_cast<std::size_t>(heads);
  return {"pack", std::vector<int>(count, 0), std::vector<int>(count, 0), 1, 1, value_factor};
}

AttentionRun bf16_run(const HeadMapping& mapping, std::int64_t length, std::int64_t offset = 0,
                      std::int64_t d = 64) {
  return {attention_shape(mapping, 1, length, offset, d), DType::bf16};
}

// first_key[i] = start(i + offset), for a query at that position.
void set_documents(AttentionRun& run, const std::function<std::int64_t(std::int64_t)>& start) {
  const AttentionShape& s = run.shape;
  run.first_key = TestTensor(DType::i32, {s.batch * s.query_length});
  for (std::int64_t i = 0; i < s.batch * s.query_length; ++i) {
    set(run.first_key.tensor, i, static_cast<double>(start(i % s.query_length + s.query_offset)));
  }
}

// Sizes that divide a tile and that don't: a tile begins with any head of a pack.
TEST(AttentionTiles, PacksOfAnySize) {
  for (const int heads : {1, 3, 4, 11}) {
    AttentionRun run = bf16_run(pack_of(heads), heads == 1 ? 260 : 210 / heads + 140);
    expect_like_reference(run);
  }
}

// The last tile of queries has one row, or one is missing.
TEST(AttentionTiles, NearlyEmptyTiles) {
  for (const std::int64_t length : {127, 129, 191, 193}) {
    AttentionRun run = bf16_run(pack_of(1), length);
    expect_like_reference(run);
  }
  AttentionRun run = bf16_run(pack_of(3, 2), 43);  // 129 rows
  expect_like_reference(run);
}

TEST(AttentionTiles, OffsetsBeyondSeveralTiles) {
  for (const std::int64_t offset : {63, 64, 200, 257}) {
    for (const std::int64_t length : {1, 70}) {
      AttentionRun run = bf16_run(pack_of(3), length, offset);
      expect_like_reference(run);
    }
  }
}

// Borders within tiles, between tiles, and several in one; the rows of a new document see nothing
// of the tiles before, which those beside them in the same warp see.
TEST(AttentionTiles, Documents) {
  for (const std::int64_t document : {9, 64, 100, 150}) {
    for (const int heads : {1, 3}) {
      AttentionRun run = bf16_run(pack_of(heads), heads == 1 ? 280 : 170);
      set_documents(run, [&](std::int64_t i) { return i / document * document; });
      expect_like_reference(run);
    }
  }
}

// A border inside a tile of keys that lies in no row's diagonal tile: the queries behind it see a
// part of a tile that is not their last.
TEST(AttentionTiles, BordersFarBehindTheDiagonal) {
  for (const std::int64_t border : {1, 33, 63, 65, 100, 127}) {
    AttentionRun run = bf16_run(pack_of(1), 300);
    set_documents(run, [&](std::int64_t i) { return i < border ? 0 : border; });
    expect_like_reference(run);
  }
}

// Nothing but 0 <= first_key <= position is promised: in a tile they may be anything, or differ by
// one.
TEST(AttentionTiles, FirstKeysInAnyOrder) {
  for (const HeadMapping& mapping : {pack_of(1), head_mappings()[3]}) {
    AttentionRun run = bf16_run(mapping, 200);
    set_documents(run, [](std::int64_t i) { return i * 7919 % (i + 1); });
    expect_like_reference(run);
  }
  AttentionRun run = bf16_run(pack_of(1), 200);
  set_documents(run, [](std::int64_t i) { return i % 2; });
  expect_like_reference(run);
}

// A query alone sees fewer keys than those around it, wherever in a tile of queries it is, among
// keys that all others of its tile see.
TEST(AttentionTiles, OneQueryBeginsLater) {
  for (const std::int64_t query : {0, 7, 8, 20, 31, 40, 63, 100}) {
    AttentionRun run = bf16_run(pack_of(1), 260);
    set_documents(run, [&](std::int64_t i) { return i == 128 + query ? 40 : 0; });
    expect_like_reference(run);
  }
}

// Packs read keys and values that are neither alike in number nor in order.
TEST(AttentionTiles, AnyKeyWithAnyValue) {
  for (const HeadMapping& mapping : head_mappings()) {
    AttentionRun run = bf16_run(mapping, 20);
    expect_like_reference(run);
  }
}

// The widest tiles, of which shared memory holds the fewest.
TEST(AttentionTiles, WidestHeads) {
  for (const int value_factor : {1, 2}) {
    AttentionRun run = bf16_run(pack_of(3, value_factor), 150, 50, 128);
    set_documents(run, [](std::int64_t i) { return i < 90 ? 0 : 90; });
    expect_like_reference(run);
  }
}

// Sequences of a batch: the second begins where the first ends, within tiles, and has other
// documents.
TEST(AttentionTiles, SequencesAreApart) {
  AttentionRun run(attention_shape(head_mappings()[3], 2, 130, 0, 64), DType::bf16);
  set_documents(run, [](std::int64_t i) { return i < 70 ? 0 : 70; });
  for (std::int64_t i = 0; i < 130; ++i) set(run.first_key.tensor, 130 + i, i < 20 ? 0 : 20);
  expect_like_reference(run);
}

// Keys behind the last query are not read, though they lie in its tile: a NaN there has no effect.
TEST(AttentionTiles, KeysAfterTheLastQueryAreNotRead) {
  AttentionRun exact = bf16_run(pack_of(3, 2), 100);
  exact.forward();
  exact.backward();
  AttentionShape longer = exact.shape;
  longer.key_length = 140;
  AttentionRun run(longer, DType::bf16, cast(exact.q.tensor, DType::bf16),
                   TestTensor(DType::bf16, AttentionRun::k_shape(longer)),
                   TestTensor(DType::bf16, AttentionRun::v_shape(longer)),
                   cast(exact.dout.tensor, DType::bf16));
  for (const auto& [to, from] : {std::pair(&run.k, &exact.k), std::pair(&run.v, &exact.v)}) {
    fill(to->tensor, NAN);
    for (std::int64_t i = 0; i < from->tensor.elements(); ++i) {
      set(to->tensor, i, get(from->tensor, i));
    }
  }
  run.forward();
  run.backward();
  EXPECT_EQ(values(run.out.tensor), values(exact.out.tensor));
  EXPECT_EQ(values(run.dq.tensor), values(exact.dq.tensor));
  EXPECT_EQ(values(run.dk.tensor.rows(0, 100)), values(exact.dk.tensor));
  EXPECT_EQ(values(run.dv.tensor.rows(0, 100)), values(exact.dv.tensor));
  EXPECT_EQ(values(run.dk.tensor.rows(100, 40)), std::vector<double>(40 * 64));
  EXPECT_EQ(values(run.dv.tensor.rows(100, 40)), std::vector<double>(40 * 128));
}

// Also through tiles that are not masked.
TEST(AttentionTiles, NanReachesEveryQueryThatSeesIt) {
  for (const bool in_key : {true, false}) {
    AttentionRun run = bf16_run(pack_of(1), 200);
    set(in_key ? run.k.tensor : run.v.tensor, 40 * 64 + 5, NAN);
    run.forward();
    run.backward();
    for (std::int64_t i = 40; i < 200; ++i) {
      EXPECT_TRUE(std::isnan(get(run.out.tensor, i * 64 + 5))) << i;
      EXPECT_TRUE(std::isnan(get(run.dq.tensor, i * 64 + 5))) << i;
    }
  }
}

// A maximum that rises in every tile, and one that never does: sums are scaled, or left alone.
TEST(AttentionTiles, MaximaThatRiseAndFall) {
  for (const bool rises : {true, false}) {
    AttentionRun run = bf16_run(pack_of(1), 260);
    for (std::int64_t j = 0; j < 260; ++j) {
      const double size = static_cast<double>(rises ? j : 260 - j) / 65;
      for (std::int64_t n = 0; n < 64; ++n) {
        set(run.q.tensor, j * 64 + n, 0.5);
        set(run.k.tensor, j * 64 + n, size);
      }
    }
    expect_like_reference(run);
  }
}

// One query's maximum rises alone, in either half of a warp's rows.
TEST(AttentionTiles, AMaximumThatRisesAlone) {
  for (const std::int64_t query : {193, 201}) {
    AttentionRun run = bf16_run(pack_of(1), 210);
    for (std::int64_t j = 0; j < 210; ++j) {
      for (std::int64_t n = 0; n < 64; ++n) {
        set(run.q.tensor, j * 64 + n, j == query ? 0.5 : 0);
        set(run.k.tensor, j * 64 + n, static_cast<double>(j) / 65);
      }
    }
    expect_like_reference(run);
  }
}

TEST(AttentionTiles, SameBitsInEveryRun) {
  AttentionRun run = bf16_run(head_mappings()[3], 150);
  const auto results = [&] {
    run.forward();
    run.backward();
    std::vector<double> all;
    for (const TestTensor* result : {&run.out, &run.lse, &run.dq, &run.dk, &run.dv}) {
      const std::vector<double> some = values(result->tensor);
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  };
  EXPECT_EQ(results(), results());
}

}  // namespace
}  // namespace gda::test
