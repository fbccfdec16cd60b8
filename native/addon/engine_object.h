// The JavaScript class `Engine`: lib/dataplane's way into the core, and nobody else's. Cold methods check and
// convert their arguments here; hot ones are in hot_calls.cc and take numbers only. What lib/dataplane passes
// is trusted to have the right types, never to be in bounds.
#pragma once

#include <napi.h>

#include "native/addon/core.h"

namespace splitplane::addon {

class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

  // Null once shut down.
  Core* core() { return core_; }

 private:
  void Deliver(size_t count);

  Napi::Value RegionBuffer(const Napi::CallbackInfo& info);
  Napi::Value RegisterUser(const Napi::CallbackInfo& info);
  Napi::Value RegisterFile(const Napi::CallbackInfo& info);
  Napi::Value Listen(const Napi::CallbackInfo& info);
  Napi::Value ListenerAddress(const Napi::CallbackInfo& info);
  void CloseListener(const Napi::CallbackInfo& info);
  Napi::Value Connect(const Napi::CallbackInfo& info);
  void Accept(const Napi::CallbackInfo& info);
  void Reject(const Napi::CallbackInfo& info);
  void CloseSession(const Napi::CallbackInfo& info);
  void DestroySession(const Napi::CallbackInfo& info);
  Napi::Value Session(const Napi::CallbackInfo& info);
  Napi::Value Detail(const Napi::CallbackInfo& info);
  Napi::Value Transports(const Napi::CallbackInfo& info);
  Napi::Value Stats(const Napi::CallbackInfo& info);
  void SetReferenced(const Napi::CallbackInfo& info);
  void Shutdown(const Napi::CallbackInfo& info);

  // The engine, or null after throwing CLOSED.
  Engine* Open(const Napi::CallbackInfo& info);

  Core* core_ = nullptr;
  Napi::FunctionReference deliver_;
  std::vector<Napi::ObjectReference> shared_;  // the ArrayBuffers behind SharedBlocks
  std::unique_ptr<Napi::AsyncContext> async_;
};

// Gives `object` the hot calls on `engine`, which it wraps. They are its own and not its class's, because to
// find out whose call it is would take as long as some of them take. So they may not be called when `object`
// is gone; lib/dataplane calls them on it only.
void DefineHotCalls(napi_env env, napi_value object, EngineObject& engine);

}  // namespace splitplane::addon
