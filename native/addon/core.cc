// The life of one engine beside its JavaScript object, and the one list of transports.
#include "native/addon/core.h"

#include "native/base/check.h"
#include "native/rdma/rdma_transport.h"
#include "native/shm/shm_transport.h"
#include "native/tcp/tcp_transport.h"

namespace splitplane::addon {

std::span<const TransportEntry> AllTransports() {
  static constexpr TransportEntry kTransports[] = {
      {"shm", &MakeShmTransport},
      {"rdma", &MakeRdmaTransport},
      {"tcp", &MakeTcpTransport},
  };
  return kTransports;
}

Result<Core*> Core::Make(Napi::Env env, EngineOptions options, PollMode poll, SharedBlocks shared,
                         std::function<void(size_t)> deliver, std::function<void()> ended) {
  auto* core = new Core(env, shared);
  core->ended_ = std::move(ended);
  core->ring_ = std::make_unique<EventRing>(shared.events, shared.receive_arena, std::move(deliver));
  auto engine = Engine::Make(std::move(options), AllTransports(), *core->ring_);
  if (!engine.ok()) {
    delete core;
    return engine.status();
  }
  core->engine_ = std::move(engine).value();
  uv_loop_t* loop = nullptr;
  SPLITPLANE_CHECK(napi_get_uv_event_loop(env, &loop) == napi_ok);
  core->driver_ = std::make_unique<LoopDriver>(loop, *core->engine_, poll, [core] { core->ring_->Flush(); });
  SPLITPLANE_CHECK(napi_add_async_cleanup_hook(env, &Core::OnEnvironmentEnds, core, &core->hook_) == napi_ok);
  Status started = core->driver_->Start();
  if (!started.ok()) {
    core->Shutdown();
    return started;
  }
  return core;
}

Core::~Core() {
  if (hook_ != nullptr) napi_remove_async_cleanup_hook(hook_);
}

void Core::OnEnvironmentEnds(napi_async_cleanup_hook_handle, void* core) {
  auto* self = static_cast<Core*>(core);
  if (self->down_) return;
  self->ended_();
  self->Shutdown();
}

void Core::Shutdown() {
  if (down_) return;
  down_ = true;
  driver_->Stop([this] { delete this; });
}

uint32_t Core::Keep(BufferRef buffer) {
  if (free_handles_.empty()) {
    buffers_.push_back(std::move(buffer));
    return uint32_t(buffers_.size() - 1);
  }
  uint32_t handle = free_handles_.back();
  free_handles_.pop_back();
  buffers_[handle] = std::move(buffer);
  return handle;
}

Buffer* Core::Find(uint32_t handle) { return handle < buffers_.size() ? buffers_[handle].get() : nullptr; }

void Core::Drop(uint32_t handle) {
  if (Find(handle) == nullptr) return;
  buffers_[handle].Reset();
  free_handles_.push_back(handle);
}

}  // namespace splitplane::addon
