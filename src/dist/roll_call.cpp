#include "dist/roll_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <thread>

namespace gda::dist {
namespace {

constexpr auto kAnswerPoll = std::chrono::microseconds(200);

// Errors are of no interest here: a rank that cannot be reached does not answer.
void forget(MPI_Request& request) {
  if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
}

bool has_come(MPI_Request& request) {
  int done = 0;
  return MPI_Test(&request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done != 0;
}

}  // namespace

bool RollCall::is_asked() {
  int asked = 0;
  MPI_Iprobe(MPI_ANY_SOURCE, kQuestionTag, MPI_COMM_WORLD, &asked, MPI_STATUS_IGNORE);
  return asked != 0;
}

void RollCall::answer(const std::string& doing) {
  Text text{};
  doing.copy(text.data(), text.size() - 1);
  while (is_asked()) {
    MPI_Status status;
    MPI_Recv(nullptr, 0, MPI_BYTE, MPI_ANY_SOURCE, kQuestionTag, MPI_COMM_WORLD, &status);
    const Text& told = told_.emplace_back(text);
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(told.data(), static_cast<int>(told.size()), MPI_BYTE, status.MPI_SOURCE, kAnswerTag,
              MPI_COMM_WORLD, &request);
    forget(request);
  }
}

std::vector<std::string> RollCall::ask(const MpiGroup& world, const RankNames& names,
                                       const std::string& doing,
                                       std::chrono::steady_clock::duration limit) {
  for (int rank = 0; rank < world.place.size; ++rank) {
    if (rank == world.place.rank) continue;
    Answer& answer = heard_.emplace_back(Answer{.rank = rank});
    MPI_Irecv(answer.text.data(), static_cast<int>(answer.text.size()), MPI_BYTE, rank, kAnswerTag,
              MPI_COMM_WORLD, &answer.request);
    MPI_Request question = MPI_REQUEST_NULL;
    MPI_Isend(nullptr, 0, MPI_BYTE, rank, kQuestionTag, MPI_COMM_WORLD, &question);
    forget(question);
  }
  std::map<std::string, std::vector<int>> by_text{{doing, {world.place.rank}}};
  std::vector<Answer*> awaited;
  for (Answer& answer : heard_) awaited.push_back(&answer);
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!awaited.empty() && std::chrono::steady_clock::now() < end) {
    answer(doing);
    std::erase_if(awaited, [&](Answer* answer) {
      if (!has_come(answer->request)) return false;
      by_text[answer->text.data()].push_back(answer->rank);
      return true;
    });
    std::this_thread::sleep_for(kAnswerPoll);
  }
  for (const Answer* answer : awaited) {
    by_text["no answer: stopped, gone or out of reach"].push_back(answer->rank);
  }
  std::vector<std::string> lines;
  for (auto& [text, ranks] : by_text) {
    std::sort(ranks.begin(), ranks.end());
    lines.push_back(fmt::format("{}: {}", names.list(ranks), text));
  }
  return lines;
}

}  // namespace gda::dist
