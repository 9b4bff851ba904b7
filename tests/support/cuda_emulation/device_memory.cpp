#include "device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "gda/core/error.h"

namespace gda::emulation {
namespace {

struct Block {
  std::size_t bytes = 0;
  Kind kind = Kind::device;
  // Of the device's own memory: whole pages, after which one is left out.
  std::byte* pages = nullptr;
  std::size_t page_bytes = 0;
};

// All memory of the device, and what of the host's it reaches, by address.
std::map<std::byte*, Block>& blocks() {
  static std::map<std::byte*, Block> all;
  return all;
}

const Block* find(const void* address) {
  auto* byte = static_cast<std::byte*>(const_cast<void*>(address));
  auto next = blocks().upper_bound(byte);
  if (next == blocks().begin()) return nullptr;
  --next;
  return byte < next->first + next->second.bytes ? &next->second : nullptr;
}

void protect(int access) {
  for (const auto& [address, block] : blocks()) {
    if (block.kind != Kind::device) continue;
    require<Error>(::mprotect(block.pages, block.page_bytes, access) == 0,
                   "the emulated device: mprotect failed");
  }
}

// How many Running there are.
int running = 0;

void* allocate_pages(std::size_t bytes) {
  constexpr std::size_t kAlignment = 256;  // cudaMalloc's
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t used = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::size_t page_bytes = (used + page - 1) / page * page;
  void* data = ::mmap(nullptr, page_bytes + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  auto* pages = static_cast<std::byte*>(data);
  // At the end of the pages, so that what runs over the end is noticed.
  std::byte* const begin = pages + (page_bytes - used);
  blocks()[begin] = {
      .bytes = bytes, .kind = Kind::device, .pages = pages, .page_bytes = page_bytes};
  return begin;
}

void* allocate_host(std::size_t bytes, Kind kind) {
  auto* data = static_cast<std::byte*>(std::calloc(1, bytes + 1));
  if (data != nullptr) blocks()[data] = {.bytes = bytes, .kind = kind};
  return data;
}

}  // namespace

void* allocate_memory(std::size_t bytes, Kind kind) {
  const auto lock = lock_device();
  return kind == Kind::device ? allocate_pages(bytes) : allocate_host(bytes, kind);
}

void release_memory(void* data) {
  const auto lock = lock_device();
  const auto found = blocks().find(static_cast<std::byte*>(data));
  if (found == blocks().end()) return;
  const Block block = found->second;
  blocks().erase(found);
  if (block.kind == Kind::device) {
    ::munmap(block.pages, block.page_bytes + static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  } else {
    std::free(data);
  }
}

std::size_t held_bytes() {
  const auto lock = lock_device();
  std::size_t total = 0;
  for (const auto& [address, block] : blocks()) {
    if (block.kind == Kind::device) total += block.bytes;
  }
  return total;
}

bool is_device_memory(const void* data, std::size_t bytes) {
  const auto lock = lock_device();
  const Block* block = find(data);
  if (bytes == 0) return true;
  return block != nullptr && block->kind == Kind::device &&
         find(static_cast<const std::byte*>(data) + bytes - 1) == block;
}

bool is_pageable(const void* address) {
  const auto lock = lock_device();
  return find(address) == nullptr;
}

Running::Running() {
  if (running++ == 0) protect(PROT_READ | PROT_WRITE);
}

Running::~Running() {
  if (--running == 0) protect(PROT_NONE);
}

std::unique_lock<std::recursive_mutex> lock_device() {
  static std::recursive_mutex mutex;
  return std::unique_lock(mutex);
}

}  // namespace gda::emulation
