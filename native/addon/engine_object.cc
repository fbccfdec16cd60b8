// The cold methods of the Engine class: arguments in, calls on the core, values or errors out.
#include "native/addon/engine_object.h"

#include <fcntl.h>

#include "native/addon/conversions.h"
#include "native/addon/napi_util.h"

namespace splitplane::addon {
namespace {

std::span<uint8_t> BytesOf(const Napi::Value& value) {
  auto buffer = value.As<Napi::ArrayBuffer>();
  return {static_cast<uint8_t*>(buffer.Data()), buffer.ByteLength()};
}

// Keeps an ArrayBuffer that the user brought alive while the core holds its memory, and tells whether it
// still is where it was: user code may detach it at any time.
class UserMemory {
 public:
  UserMemory(Napi::Env env, Napi::Object buffer) : env_(env), reference_(Napi::Persistent(buffer)) {}
  Status Check() {
    Napi::HandleScope scope(env_);
    bool detached = false;
    // A SharedArrayBuffer cannot be detached; asking about one is an error that means no.
    if (napi_is_detached_arraybuffer(env_, reference_.Value(), &detached) != napi_ok || !detached) return {};
    return Status::Error(
        Code::kRegionDetached, "transfer",
        "the ArrayBuffer was transferred or detached while a transfer needed it; keep it until release()");
  }

 private:
  Napi::Env env_;
  Napi::ObjectReference reference_;
};

}  // namespace

Napi::Function EngineObject::Define(Napi::Env env) {
  std::vector<Napi::ClassPropertyDescriptor<EngineObject>> properties = {
      InstanceMethod<&EngineObject::RegionBuffer>("regionBuffer"),
      InstanceMethod<&EngineObject::RegisterUser>("registerUser"),
      InstanceMethod<&EngineObject::RegisterFile>("registerFile"),
      InstanceMethod<&EngineObject::Listen>("listen"),
      InstanceMethod<&EngineObject::ListenerAddress>("listenerAddress"),
      InstanceMethod<&EngineObject::CloseListener>("closeListener"),
      InstanceMethod<&EngineObject::Connect>("connect"),
      InstanceMethod<&EngineObject::Accept>("accept"),
      InstanceMethod<&EngineObject::Reject>("reject"),
      InstanceMethod<&EngineObject::CloseSession>("closeSession"),
      InstanceMethod<&EngineObject::DestroySession>("destroySession"),
      InstanceMethod<&EngineObject::Session>("session"),
      InstanceMethod<&EngineObject::Detail>("detail"),
      InstanceMethod<&EngineObject::Transports>("transports"),
      InstanceMethod<&EngineObject::Stats>("stats"),
      InstanceMethod<&EngineObject::SetReferenced>("setReferenced"),
      InstanceMethod<&EngineObject::Shutdown>("shutdown"),
  };
  return DefineClass(env, "Engine", properties);
}

// new Engine(options, { events, receive, send, call }: ArrayBuffers, deliver: (count) => void)
EngineObject::EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
  Napi::Env env = info.Env();
  auto options = info[0].As<Napi::Object>();
  auto memory = info[1].As<Napi::Object>();
  deliver_ = Napi::Persistent(info[2].As<Napi::Function>());
  SharedBlocks shared;
  Bytes* const parts[] = {&shared.receive_arena, &shared.send_arena, &shared.call};
  const char* const names[] = {"receive", "send", "call"};
  for (size_t i = 0; i < std::size(parts); i++) {
    *parts[i] = BytesOf(Property(memory, names[i]));
    shared_.push_back(Napi::Persistent(Property(memory, names[i]).As<Napi::Object>()));
  }
  Bytes events = BytesOf(Property(memory, "events"));
  shared_.push_back(Napi::Persistent(Property(memory, "events").As<Napi::Object>()));
  shared.events = {reinterpret_cast<double*>(events.data()), events.size() / sizeof(double)};

  // A worker that is being terminated answers no question, so there is nothing to make an engine of.
  if (shared.events.size() != EventRing::kEventWords * EventRing::kEventsMax) return;

  DefineHotCalls(env, info.This(), *this);
  async_ = std::make_unique<Napi::AsyncContext>(env, "splitplane");
  auto core = Core::Make(
      env, EngineOptionsFrom(options), PollMode(UnsignedOption(options, "poll")), shared,
      [this](size_t count) { Deliver(count); }, [this] { core_ = nullptr; });
  if (core.ok()) {
    core_ = *core;
  } else {
    Throw(env, core.status());
  }
}

EngineObject::~EngineObject() {
  if (core_ != nullptr) core_->Shutdown();
}

void EngineObject::Deliver(size_t count) {
  if (core_ == nullptr) return;
  Napi::Env env = Env();
  Napi::HandleScope scope(env);
  napi_value argument = Napi::Number::New(env, double(count));
  // Raw, because the wrappers throw when JavaScript cannot run any more, and to throw is then fatal: libuv
  // still calls us while an environment ends, as worker.terminate() does in the middle of anything. Nobody is
  // left to be told.
  if (napi_make_callback(env, *async_, Value(), deliver_.Value(), 1, &argument, nullptr) == napi_ok) return;
  napi_value exception = nullptr;
  if (!env.IsExceptionPending() || napi_get_and_clear_last_exception(env, &exception) != napi_ok) return;
  // A mistake in a user's handler: as with any event emitter, it ends as an uncaught exception.
  napi_fatal_exception(env, exception);
}

Engine* EngineObject::Open(const Napi::CallbackInfo& info) {
  if (core_ != nullptr) return core_->engine();
  Throw(info.Env(), Status::Error(Code::kClosed, "engine", "the network manager is closed; make a new one"));
  return nullptr;
}

// regionBuffer(region, longest): the one ArrayBuffer over a slab, of at most so many bytes: a longer one this
// runtime would refuse. lib/dataplane asks again only when user code detached it.
Napi::Value EngineObject::RegionBuffer(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return {};
  uint32_t id = info[0].As<Napi::Number>().Uint32Value();
  Region* found = nullptr;
  engine->pool().ForEachRegion([&](Region& region) {
    if (region.id() == id) found = &region;
  });
  SPLITPLANE_CHECK(found != nullptr && found->data() != nullptr);
  const double longest = info[1].As<Napi::Number>().DoubleValue();
  if (double(found->length()) > longest) {
    Throw(info.Env(),
          Status::Error(Code::kLimitExceeded, "memory",
                        "the memory is longer than a buffer can be in this runtime; use several"));
    return {};
  }
  // A call that fails may have run the finalizer, or run it later, or never. So the finalizer deletes no more
  // than its own hold on what keeps the memory.
  using Keep = std::shared_ptr<std::shared_ptr<void>>;
  const auto keep = std::make_shared<std::shared_ptr<void>>(found->KeepAlive());
  napi_value buffer;
  napi_status status = napi_create_external_arraybuffer(
      info.Env(), found->data(), found->length(),
      [](napi_env, void*, void* hint) { delete static_cast<Keep*>(hint); }, new Keep(keep), &buffer);
  if (status != napi_ok) {
    keep->reset();
    napi_value exception;
    if (info.Env().IsExceptionPending()) napi_get_and_clear_last_exception(info.Env(), &exception);
    Throw(info.Env(),
          Status::Error(Code::kUnsupported, "memory",
                        "this runtime refuses ArrayBuffers over native memory (Electron does); use Node.js"));
    return {};
  }
  return {info.Env(), buffer};
}

// registerUser(view: Uint8Array): handle
Napi::Value EngineObject::RegisterUser(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return {};
  // Through the view, because Node-API tells the memory of a SharedArrayBuffer in no other way.
  auto view = info[0].As<Napi::Uint8Array>();
  napi_value buffer;
  void* data = nullptr;
  size_t length = 0;
  napi_get_typedarray_info(info.Env(), view, nullptr, &length, &data, &buffer, nullptr);
  auto memory = std::make_shared<UserMemory>(info.Env(), Napi::Object(info.Env(), buffer));
  auto registered = engine->pool().RegisterUser(
      static_cast<uint8_t*>(data), length, [memory] { return memory->Check(); }, [memory] {});
  if (!registered.ok()) {
    Throw(info.Env(), registered.status());
    return {};
  }
  return Napi::Number::New(info.Env(), core_->Keep(std::move(registered).value()));
}

// registerFile(fd, offset, length): handle. The descriptor is duplicated; the caller keeps its own.
Napi::Value EngineObject::RegisterFile(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return {};
  Fd file(fcntl(info[0].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 0));
  if (!file.valid()) {
    Throw(info.Env(), Status::Errno("dup", errno));
    return {};
  }
  auto registered =
      engine->pool().RegisterFile(std::move(file), uint64_t(info[1].As<Napi::Number>().DoubleValue()),
                                  uint64_t(info[2].As<Napi::Number>().DoubleValue()));
  if (!registered.ok()) {
    Throw(info.Env(), registered.status());
    return {};
  }
  return Napi::Number::New(info.Env(), core_->Keep(std::move(registered).value()));
}

Napi::Value EngineObject::Listen(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return {};
  auto listener =
      engine->Listen(info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::String>().Utf8Value(),
                     {.endpoints_max = info[2].As<Napi::Number>().Uint32Value(),
                      .trusted_peers = info[3].As<Napi::Boolean>().Value()});
  if (!listener.ok()) {
    Throw(info.Env(), listener.status());
    return {};
  }
  return Napi::Number::New(info.Env(), *listener);
}

Napi::Value EngineObject::ListenerAddress(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return {};
  return Napi::String::New(info.Env(), engine->ListenerAddress(info[0].As<Napi::Number>().Uint32Value()));
}

void EngineObject::CloseListener(const Napi::CallbackInfo& info) {
  if (Engine* engine = Open(info)) engine->CloseListener(info[0].As<Napi::Number>().Uint32Value());
}

// connect(transports: string[], best first, address, dataChannels, expectedNodeId: Uint8Array(16), zeros for
// anybody, trustedPeer): session
Napi::Value EngineObject::Connect(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return {};
  std::vector<Route> routes;
  for (std::string& transport : StringsOf(info[0])) {
    routes.push_back({std::move(transport), info[1].As<Napi::String>().Utf8Value()});
  }
  NodeId expected{};
  auto node = info[3].As<Napi::Uint8Array>();
  std::copy_n(node.Data(), std::min(node.ByteLength(), expected.size()), expected.data());
  const ConnectOptions options{.data_channels = info[2].As<Napi::Number>().Uint32Value(),
                               .trusted_peer = info[4].As<Napi::Boolean>().Value()};
  auto session = engine->Connect(routes, options, expected);
  if (!session.ok()) {
    Throw(info.Env(), session.status());
    return {};
  }
  return Napi::Number::New(info.Env(), *session);
}

void EngineObject::Accept(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return;
  Status status =
      engine->Accept(info[0].As<Napi::Number>().Uint32Value(), info[1].As<Napi::String>().Utf8Value());
  if (!status.ok()) Throw(info.Env(), status);
}

// reject(session, code index, sentence)
void EngineObject::Reject(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return;
  Status status = engine->Reject(info[0].As<Napi::Number>().Uint32Value(),
                                 CodeFromIndex(info[1].As<Napi::Number>().Uint32Value()),
                                 info[2].As<Napi::String>().Utf8Value());
  if (!status.ok()) Throw(info.Env(), status);
}

void EngineObject::CloseSession(const Napi::CallbackInfo& info) {
  if (Engine* engine = Open(info)) engine->Close(info[0].As<Napi::Number>().Uint32Value());
}

// destroySession(session, code index, sentence)
void EngineObject::DestroySession(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return;
  Code code = CodeFromIndex(info[1].As<Napi::Number>().Uint32Value());
  engine->Destroy(info[0].As<Napi::Number>().Uint32Value(),
                  Status::Error(code, "connection", info[2].As<Napi::String>().Utf8Value()));
}

// session(id): its facts and counters, undefined when there is none
Napi::Value EngineObject::Session(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return {};
  SessionInfo session;
  if (!engine->Info(info[0].As<Napi::Number>().Uint32Value(), session)) return info.Env().Undefined();
  return ToObject(info.Env(), session);
}

// detail(index): what an event of the batch being delivered says at length: a hello's facts, or an Error
Napi::Value EngineObject::Detail(const Napi::CallbackInfo& info) {
  if (Open(info) == nullptr) return {};
  const EventRing::Detail& detail = core_->ring().detail(info[0].As<Napi::Number>().Uint32Value());
  if (const auto* hello = std::get_if<PeerHello>(&detail)) return ToObject(info.Env(), *hello);
  return MakeError(info.Env(), std::get<Status>(detail)).Value();
}

// transports(): [{ name, available, reason?, capabilities?, facts }]
Napi::Value EngineObject::Transports(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return {};
  Napi::Env env = info.Env();
  Napi::Array list = Napi::Array::New(env);
  uint32_t index = 0;
  for (const TransportEntry& entry : AllTransports()) {
    Napi::Object object = Napi::Object::New(env);
    Transport* transport = engine->transport(entry.name);
    object.Set("name", entry.name);
    object.Set("available", transport != nullptr);
    if (transport != nullptr) {
      object.Set("capabilities", ToObject(env, transport->capabilities()));
      object.Set("facts", ToArray(env, transport->facts()));
    } else {
      object.Set("reason", std::string(engine->transport_status(entry.name).detail()));
      object.Set("facts", Napi::Array::New(env));
    }
    list.Set(index++, object);
  }
  return list;
}

// stats(): counters since the beginning, { memory, tags, transports: { name: { …, holds: { … } } } }
Napi::Value EngineObject::Stats(const Napi::CallbackInfo& info) {
  Engine* engine = Open(info);
  if (engine == nullptr) return {};
  Napi::Env env = info.Env();
  Napi::Object stats = Napi::Object::New(env);
  stats.Set("memory", ToObject(env, engine->pool().stats()));
  stats.Set("tags", ToObject(env, engine->tags().stats()));
  Napi::Object transports = Napi::Object::New(env);
  for (const TransportEntry& entry : AllTransports()) {
    Transport* transport = engine->transport(entry.name);
    if (transport == nullptr) continue;
    Napi::Object counters = ToObject(env, transport->stats());
    Napi::Object holds = Napi::Object::New(env);
    for (const TransportGauge& gauge : transport->gauges()) holds.Set(gauge.name, double(gauge.value));
    counters.Set("holds", holds);
    transports.Set(entry.name, counters);
  }
  stats.Set("transports", transports);
  return stats;
}

void EngineObject::SetReferenced(const Napi::CallbackInfo& info) {
  if (Open(info) != nullptr) core_->driver().SetReferenced(info[0].As<Napi::Boolean>().Value());
}

void EngineObject::Shutdown(const Napi::CallbackInfo&) {
  if (core_ == nullptr) return;
  std::exchange(core_, nullptr)->Shutdown();
  deliver_.Reset();
}

}  // namespace splitplane::addon
