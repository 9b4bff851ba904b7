// Reading whole datasets to find out what they hold.
#pragma once

#include <vector>

#include "data/content_summary.h"
#include "gda/data/token_dataset.h"
#include "gda/dist/communicator.h"

namespace gda {

// Block number `block` of a dataset (content_summary.h).
BlockSummary summarize_block(const TokenDataset& dataset, std::int64_t block);

// What the datasets hold, without their tokenizers, the same on every rank. The ranks share the
// blocks; as long as one reads, the others wait in short rounds, so that none runs into the timeout
// of the group. The log tells how far it is. Throws what reading throws, on every rank. Collective.
std::vector<DatasetIdentity> scan(const std::vector<const TokenDataset*>& datasets,
                                  Communicator& group);

}  // namespace gda
