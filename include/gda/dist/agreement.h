// Failures that all ranks learn of.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gda/dist/communicator.h"

namespace gda {

// Runs `body` on this rank. If it threw on any rank, throws on every rank an error of the same kind
// (as on the lowest failing rank): "{context}: rank 2: {reason}", by
// Communicator::rank_name. With one rank the rank is left out, and an empty context too. `body`
// must not communicate.
void together(Communicator& group, const std::string& context, const std::function<void()>& body);

// The text of every rank, in rank order.
std::vector<std::string> gather_texts(Communicator& group, const std::string& text);

}  // namespace gda
