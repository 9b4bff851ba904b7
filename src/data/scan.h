// Reading whole datasets to find out what they hold.
#pragma once

#include <chrono>
#include <span>
#include <vector>

#include "data/content_summary.h"
#include "gda/data/token_dataset.h"
#include "gda/dist/communicator.h"

namespace gda {

// Block number `block` of a dataset (content_summary.h).
BlockSummary summarize_block(const TokenDataset& dataset, std::int64_t block);

// Blocks that a dataset has.
std::int64_t blocks_of(const TokenDataset& dataset);

// How far several scans are together.
struct ScanProgress {
  using Clock = std::chrono::steady_clock;

  std::int64_t blocks = 0;  // of all
  std::int64_t done = 0;    // of those before the scan under way
  Clock::time_point begin = Clock::now();
  Clock::time_point last_line = begin;
};

// What the datasets hold, without their tokenizers, the same on every rank. The ranks share the
// blocks; as long as one reads, the others wait in short rounds, so that none runs into the timeout
// of the group. The log tells how far it is. Throws what reading throws, on every rank. Collective.
std::vector<DatasetIdentity> scan(std::span<const TokenDataset* const> datasets,
                                  Communicator& group, ScanProgress& progress);

}  // namespace gda
