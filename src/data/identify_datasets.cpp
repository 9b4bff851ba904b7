#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/dataset_sidecar.h"
#include "data/scan.h"
#include "gda/core/error.h"
#include "gda/core/file.h"
#include "gda/core/log.h"
#include "gda/data/dataset_identity.h"
#include "gda/data/token_dataset.h"
#include "gda/dist/agreement.h"
#include "gda/dist/device_communicator.h"

namespace gda {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Any id may be found by a scan.
constexpr std::int64_t kAnyVocabulary = std::numeric_limits<std::int64_t>::max();

// A dataset on its way to an identity. Only rank 0 looks at what lies beside it.
struct Candidate {
  std::unique_ptr<TokenDataset> dataset;
  std::vector<FileStamp> stamps;
  std::optional<DatasetIdentity> identity;
  // Says what the dataset was, before it was copied, touched or changed.
  std::optional<DatasetIdentity> outdated;
};

std::vector<fs::path> sidecars_of(const TokenDataset& dataset) {
  std::vector<fs::path> files{sidecar_beside(dataset.path())};
  if (const auto cached = sidecar_in_cache(dataset.path())) files.push_back(*cached);
  return files;
}

void recognise(Candidate& candidate) {
  candidate.stamps = stamps_of(candidate.dataset->files());
  for (const fs::path& file : sidecars_of(*candidate.dataset)) {
    const auto sidecar = read_sidecar(file);
    if (!sidecar) continue;
    if (sidecar->files == candidate.stamps) {
      candidate.identity = sidecar->identity;
      return;
    }
    if (!candidate.outdated) candidate.outdated = sidecar->identity;
  }
}

// A look at many files takes the time of many round trips to a file server.
void recognise_all(std::vector<Candidate>& candidates) {
  constexpr std::size_t kThreads = 8;
  std::atomic<std::size_t> next{0};
  std::vector<std::future<void>> threads;
  for (std::size_t i = 0; i < std::min(kThreads, candidates.size()); ++i) {
    threads.push_back(std::async(std::launch::async, [&] {
      for (std::size_t at = next++; at < candidates.size(); at = next++) recognise(candidates[at]);
    }));
  }
  for (auto& thread : threads) thread.get();
}

// The tokenizer is known on, if what was read is what it was said of.
void take_tokenizer(Candidate& candidate) {
  if (!candidate.outdated) return;
  DatasetIdentity& found = *candidate.identity;
  const DatasetIdentity& said = *candidate.outdated;
  const std::string path = candidate.dataset->path().string();
  if (found.content == said.content) {
    found.tokenizer = said.tokenizer;
    log::info("{}: copied or touched, and the same dataset as before", path);
    return;
  }
  log::warning(
      "{} is not the dataset that {} speaks of ({} tokens now, {} then): which tokenizer made it "
      "is not known any more",
      path, sidecar_beside(path).string(), found.tokens, said.tokens);
}

// Beside the dataset, else in the cache.
void keep(const Candidate& candidate) {
  std::string reasons;
  for (const fs::path& file : sidecars_of(*candidate.dataset)) {
    try {
      make_directories(file.parent_path().empty() ? fs::path(".") : file.parent_path());
      write_sidecar(file, {.identity = *candidate.identity, .files = candidate.stamps});
      return;
    } catch (const IoError& reason) {
      reasons += (reasons.empty() ? "" : "; ") + std::string(reason.what());
    }
  }
  log::warning("{} will be read again at the next start: what it holds could not be kept: {}",
               candidate.dataset->path().string(), reasons);
}

// All paths that cannot be opened are told at once.
std::vector<std::vector<Candidate>> open_all(const std::vector<std::string>& paths) {
  std::vector<std::vector<Candidate>> sources;
  std::exception_ptr first;
  std::vector<std::string> problems;
  for (const std::string& path : paths) {
    sources.emplace_back();
    try {
      for (auto& dataset : open_token_datasets(path, kAnyVocabulary)) {
        sources.back().emplace_back();
        sources.back().back().dataset = std::move(dataset);
      }
    } catch (const Error& error) {
      problems.emplace_back(error.what());
      if (!first) first = std::current_exception();
    }
  }
  if (problems.size() == 1) std::rethrow_exception(first);
  require<IoError>(problems.empty(), "{} sources of data cannot be opened:\n  {}", problems.size(),
                   fmt::join(problems, "\n  "));
  return sources;
}

// Hosts may have copies of their own, which are the same or none.
void check_lengths(const std::vector<Candidate>& candidates, Communicator& group) {
  Json sizes = Json::array();
  for (const Candidate& candidate : candidates) sizes.push_back(candidate.dataset->size());
  const Json expected = Json::parse(group.broadcast(sizes.dump(), 0));
  together(group, "", [&] {
    require<FormatError>(sizes.size() == expected.size(),
                         "{} datasets here, {} on rank 0's host: the sources are not the same",
                         sizes.size(), expected.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      require<FormatError>(
          sizes[i] == expected[i], "{}: other data than on rank 0's host: {} tokens here, {} there",
          candidates[i].dataset->path().string(), sizes[i].dump(), expected[i].dump());
    }
  });
}

// The ranks of a host share the work of looking; there is no need to see everything.
void check_copies(const std::vector<Candidate>& candidates, Communicator& group) {
  constexpr std::size_t kMostLooks = 64;
  if (group.size() == 1) return;
  Json samples = Json::array();
  for (const Candidate& candidate : candidates) {
    samples.push_back(Json::array());
    for (const FileStamp& stamp : candidate.stamps) samples.back().push_back(stamp.sample);
  }
  samples = Json::parse(group.broadcast(samples.dump(), 0));
  const HostPlace place = place_on_host(group);
  const auto ranks = static_cast<std::size_t>(place.ranks);
  const std::size_t looks = std::min(kMostLooks, (candidates.size() + ranks - 1) / ranks);
  together(group, "", [&] {
    for (std::size_t look = 0; look < looks; ++look) {
      const std::size_t i = static_cast<std::size_t>(place.rank) + look * ranks;
      if (i >= candidates.size()) return;
      const TokenDataset& dataset = *candidates[i].dataset;
      Json own = Json::array();
      for (const FileStamp& stamp : stamps_of(dataset.files())) own.push_back(stamp.sample);
      require<FormatError>(own == samples[i],
                           "{}: other data than on rank 0's host, though as much of it: each host "
                           "needs the same copy",
                           dataset.path().string());
    }
  });
}

void share_identities(std::vector<Candidate>& candidates, Communicator& group) {
  Json json = Json::array();
  for (const Candidate& candidate : candidates) {
    json.push_back(candidate.identity ? identity_json(*candidate.identity) : std::string());
  }
  json = Json::parse(group.broadcast(json.dump(), 0));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto text = json[i].get<std::string>();
    candidates[i].identity.reset();
    if (!text.empty()) candidates[i].identity = parse_dataset_identity(text, "rank 0");
  }
}

// In parts that are kept as they are done, so that a start that is killed has not read in vain, and
// are long enough for all ranks to have something to do.
void scan_unknown(std::vector<Candidate>& candidates, Communicator& group) {
  constexpr std::int64_t kBlocksOfARank = 64;
  std::vector<Candidate*> unknown;
  std::vector<const TokenDataset*> datasets;
  ScanProgress progress;
  for (Candidate& candidate : candidates) {
    if (candidate.identity) continue;
    unknown.push_back(&candidate);
    datasets.push_back(candidate.dataset.get());
    progress.blocks += blocks_of(*candidate.dataset);
  }
  if (unknown.empty()) return;
  const std::string first = datasets.front()->path().string();
  log::info("{} read once, to know what {}",
            unknown.size() == 1
                ? first + " is"
                : fmt::format("{} datasets are (the first is {})", unknown.size(), first),
            unknown.size() == 1 ? "it holds" : "they hold");
  for (std::size_t begin = 0, end = 0; begin < unknown.size(); begin = end) {
    std::int64_t blocks = 0;
    while (end < unknown.size() && blocks < kBlocksOfARank * group.size()) {
      blocks += blocks_of(*datasets[end++]);
    }
    const auto found = scan(std::span(datasets).subspan(begin, end - begin), group, progress);
    for (std::size_t i = begin; i < end; ++i) {
      unknown[i]->identity = found[i - begin];
      if (!group.is_root()) continue;
      take_tokenizer(*unknown[i]);
      keep(*unknown[i]);
    }
  }
}

}  // namespace

std::vector<std::vector<IdentifiedDataset>> identify_datasets(const std::vector<std::string>& paths,
                                                              Communicator& group) {
  std::vector<std::vector<Candidate>> sources = open_all(paths);
  std::vector<Candidate> candidates;
  for (auto& source : sources)
    std::move(source.begin(), source.end(), std::back_inserter(candidates));
  check_lengths(candidates, group);
  together(group, "", [&] {
    if (group.is_root()) recognise_all(candidates);
  });
  check_copies(candidates, group);
  share_identities(candidates, group);
  scan_unknown(candidates, group);
  share_identities(candidates, group);
  std::vector<std::vector<IdentifiedDataset>> result;
  auto next = candidates.begin();
  for (const auto& source : sources) {
    std::vector<IdentifiedDataset> datasets;
    for (std::size_t i = 0; i < source.size(); ++i, ++next) {
      datasets.push_back({next->dataset->path().string(), *next->identity});
    }
    result.push_back(std::move(datasets));
  }
  return result;
}

}  // namespace gda
