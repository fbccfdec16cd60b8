// One engine with its loop driver and event ring, as one thing that outlives its JavaScript object until
// libuv has closed its handles. Ends by Shutdown(): asked for by the user, by the garbage collector, or by
// the environment's end (worker.terminate()), whichever comes first.
#pragma once

#include <napi.h>
#include <uv.h>

#include <functional>
#include <memory>
#include <vector>

#include "native/addon/event_ring.h"
#include "native/addon/loop_driver.h"
#include "native/protocol/engine.h"

namespace splitplane::addon {

// The transports that are compiled in, in order of preference. The one place that names them.
std::span<const TransportEntry> AllTransports();

// Memory that JavaScript made and shares with us for the engine's life (lib/dataplane/shared-blocks.ts has
// the layout).
struct SharedBlocks {
  std::span<double> events;
  Bytes receive_arena;  // messages that arrive
  Bytes send_arena;     // messages that go
  Bytes call;           // arguments of hot calls that are not numbers: tags, slices
};

class Core {
 public:
  // `deliver` hands the first `count` events to JavaScript. `ended` is told when the environment ends before
  // anybody called Shutdown(): the Core goes by itself then, and before its owner is finalized.
  static Result<Core*> Make(Napi::Env env, EngineOptions options, PollMode poll, SharedBlocks shared,
                            std::function<void(size_t)> deliver, std::function<void()> ended);
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Null after Shutdown.
  Engine* engine() { return down_ ? nullptr : engine_.get(); }
  const SharedBlocks& shared() const { return shared_; }
  const EventRing& ring() const { return *ring_; }
  LoopDriver& driver() { return *driver_; }

  // Buffers that JavaScript owns, by handle.
  uint32_t Keep(BufferRef buffer);
  Buffer* Find(uint32_t handle);  // null: no such
  // Lets go of JavaScript's own hold. Tags and operations may hold the memory longer.
  void Drop(uint32_t handle);

  // Stops at once and deletes this when the loop has closed the handles. Idempotent.
  void Shutdown();

 private:
  Core(Napi::Env env, SharedBlocks shared) : env_(env), shared_(shared) {}
  ~Core();
  static void OnEnvironmentEnds(napi_async_cleanup_hook_handle hook, void* core);

  Napi::Env env_;
  SharedBlocks shared_;
  std::function<void()> ended_;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  bool down_ = false;
  // Order matters: buffers go before the engine whose pool they came from.
  std::unique_ptr<EventRing> ring_;
  std::unique_ptr<Engine> engine_;
  std::vector<BufferRef> buffers_;
  std::vector<uint32_t> free_handles_;
  std::unique_ptr<LoopDriver> driver_;
};

}  // namespace splitplane::addon
