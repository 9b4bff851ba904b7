// What ranks are called in errors and the log.
#pragma once

#include <mutex>
#include <string>
#include <vector>

namespace gda::dist {

// Of all processes. For any thread.
class RankNames {
 public:
  // Where every rank is, in words: "pipeline 1, data 0". Empty: nowhere in particular.
  void set_places(std::vector<std::string> places);
  // "rank 5", or with its place "rank 5 (pipeline 1, data 0)".
  std::string name(int rank) const;
  // "rank 5 (pipeline 1, data 0), rank 7 (pipeline 1, data 2)", or "ranks 5, 7" where they have no
  // places or are more than eight.
  std::string list(const std::vector<int>& ranks) const;

 private:
  std::string name_with_place(int rank) const;

  mutable std::mutex mutex_;
  std::vector<std::string> places_;
};

}  // namespace gda::dist
