#include "gda/dist/agreement.h"

#include <cstring>
#include <filesystem>
#include <new>

#include "gda/core/error.h"

namespace gda {
namespace {

// The first letter of a failure that travels between ranks; no text is success.
enum Kind : char { kConfig = 'C', kIo = 'I', kFormat = 'F', kOther = 'E' };

std::string failure_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const ConfigError& error) {
    return std::string(1, kConfig) + error.what();
  } catch (const IoError& error) {
    return std::string(1, kIo) + error.what();
  } catch (const FormatError& error) {
    return std::string(1, kFormat) + error.what();
  } catch (const std::filesystem::filesystem_error& error) {
    return fmt::format("{}cannot access {}: {}", static_cast<char>(kIo), error.path1().string(),
                       error.code().message());
  } catch (const std::bad_alloc&) {
    return std::string(1, kOther) + "out of memory";
  } catch (const std::exception& error) {
    return std::string(1, kOther) + error.what();
  }
  return {};
}

[[noreturn]] void throw_failure(char kind, const std::string& message) {
  switch (kind) {
    case kConfig:
      throw ConfigError(message);
    case kIo:
      throw IoError(message);
    case kFormat:
      throw FormatError(message);
    default:
      throw Error(message);
  }
}

}  // namespace

void together(Communicator& group, const std::string& context, const std::function<void()>& body) {
  const std::string own = failure_of(body);
  if (!group.any(!own.empty())) return;
  const std::vector<std::string> failures = gather_texts(group, own);
  for (std::size_t rank = 0; rank < failures.size(); ++rank) {
    if (failures[rank].empty()) continue;
    std::string message = context.empty() ? "" : context + ": ";
    if (group.size() > 1) message += group.rank_name(static_cast<int>(rank)) + ": ";
    throw_failure(failures[rank].front(), message + failures[rank].substr(1));
  }
}

std::vector<std::string> gather_texts(Communicator& group, const std::string& text) {
  // Every rank sends as many 4-byte words as the longest text needs: its length, then its bytes.
  const auto longest = group.all_reduce(static_cast<std::int64_t>(text.size()), Reduction::max);
  const std::int64_t words = 2 + (longest + 3) / 4;
  const auto ranks = static_cast<std::size_t>(group.size());
  const auto bytes = static_cast<std::size_t>(words) * sizeof(std::int32_t);
  std::vector<std::int32_t> own(static_cast<std::size_t>(words));
  std::vector<std::int32_t> all(own.size() * ranks);
  const auto length = static_cast<std::int64_t>(text.size());
  std::memcpy(own.data(), &length, sizeof(length));
  if (!text.empty()) std::memcpy(own.data() + 2, text.data(), text.size());
  group
      .all_gather(Tensor(own.data(), DType::i32, {words}),
                  Tensor(all.data(), DType::i32, {words * group.size()}))
      .wait();
  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const auto* from = reinterpret_cast<const char*>(all.data()) + rank * bytes;
    std::int64_t size = 0;
    std::memcpy(&size, from, sizeof(size));
    texts.emplace_back(from + sizeof(size), static_cast<std::size_t>(size));
  }
  return texts;
}

}  // namespace gda
