// Where outgoing messages wait: memory in chunks that a session fills one after the other and that go back to
// the engine's spares when everything in them was acknowledged. Idle sessions hold none. Knows nothing of
// frames.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "native/base/check.h"

namespace splitplane {

struct Chunk {
  std::unique_ptr<uint8_t[]> bytes;
  uint32_t size = 0;
  uint32_t used = 0;
  uint32_t live = 0;  // pieces in it that are still needed
};

struct Piece {
  Chunk* chunk = nullptr;
  uint32_t offset = 0;
  uint32_t length = 0;

  uint8_t* data() const { return chunk->bytes.get() + offset; }
};

class ChunkPool {
 public:
  static constexpr uint32_t kChunkBytes = 64 * 1024;
  static constexpr size_t kSpareMax = 64;

  // A chunk of at least `bytes`. Longer ones than usual are made for the occasion.
  Chunk* Take(uint32_t bytes) {
    if (bytes <= kChunkBytes && !spare_.empty()) {
      Chunk* chunk = spare_.back().release();
      spare_.pop_back();
      return chunk;
    }
    auto chunk = std::make_unique<Chunk>();
    chunk->size = std::max(bytes, kChunkBytes);
    chunk->bytes = std::make_unique_for_overwrite<uint8_t[]>(chunk->size);
    return chunk.release();
  }
  void Give(Chunk* chunk) {
    std::unique_ptr<Chunk> owned(chunk);
    if (chunk->size != kChunkBytes || spare_.size() == kSpareMax) return;
    chunk->used = 0;
    spare_.push_back(std::move(owned));
  }

 private:
  std::vector<std::unique_ptr<Chunk>> spare_;
};

// One session's pieces.
class ChunkWriter {
 public:
  explicit ChunkWriter(ChunkPool& pool) : pool_(pool) {}
  ~ChunkWriter() {
    // Whoever holds pieces frees them first.
    SPLITPLANE_CHECK(tail_ == nullptr);
  }
  ChunkWriter(const ChunkWriter&) = delete;
  ChunkWriter& operator=(const ChunkWriter&) = delete;

  Piece Take(uint32_t length) {
    if (!tail_ || tail_->size - tail_->used < length) tail_ = pool_.Take(length);
    Piece piece{tail_, tail_->used, length};
    tail_->used += length;
    tail_->live++;
    return piece;
  }
  void Free(Piece& piece) {
    Chunk* chunk = piece.chunk;
    piece.chunk = nullptr;
    if (--chunk->live > 0) return;
    if (chunk == tail_) tail_ = nullptr;
    pool_.Give(chunk);
  }

 private:
  ChunkPool& pool_;
  Chunk* tail_ = nullptr;  // live > 0
};

}  // namespace splitplane
