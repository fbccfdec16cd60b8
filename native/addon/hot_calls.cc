// The calls of EngineObject that run once per message, buffer or transfer: raw Node-API, numbers as
// arguments, tags and slices through the shared call block, nothing allocated for JavaScript but the number
// that comes back.
//
// The call block (lib/dataplane/shared-blocks.ts has the other half): a tag at byte 0, the operands of an
// atomic at byte 32, and from byte 64 doubles: the slices [handle, offset, length]…, the attachments [inline
// length or -1]…, or tags of 32 bytes each.
#include <algorithm>
#include <limits>

#include "native/addon/conversions.h"
#include "native/addon/engine_object.h"
#include "native/addon/napi_util.h"

namespace splitplane::addon {
namespace {

constexpr size_t kTagAt = 0;
constexpr size_t kOperandsAt = 32;
constexpr size_t kListAt = 64;
constexpr size_t kSliceWords = 3;

template <size_t N>
class EngineCall : public HotCall<N> {
 public:
  EngineCall(napi_env env, napi_callback_info info) : HotCall<N>(env, info) {
    core = this->template Data<EngineObject>()->core();
    engine = core != nullptr ? core->engine() : nullptr;
    if (engine == nullptr) {
      Throw(env, Status::Error(Code::kClosed, "engine", "the network manager is closed; make a new one"));
    }
  }

  Tag TagArgument() const { return Tag::From(core->shared().call.subspan(kTagAt, Tag::kSize)); }
  std::span<const double> List(size_t words) const {
    ConstBytes list = core->shared().call.subspan(kListAt);
    SPLITPLANE_CHECK(words * sizeof(double) <= list.size());
    return {reinterpret_cast<const double*>(list.data()), words};
  }
  Result<std::vector<Slice>> Slices(size_t count) const {
    std::vector<Slice> slices;
    slices.reserve(count);
    std::span<const double> list = List(count * kSliceWords);
    for (size_t i = 0; i < count; i++) {
      const double* row = &list[i * kSliceWords];
      Buffer* buffer = core->Find(uint32_t(row[0]));
      if (buffer == nullptr) {
        return Status::Error(Code::kRegionReleased, "transfer", "the buffer was released; allocate another");
      }
      auto offset = uint64_t(row[1]), length = uint64_t(row[2]);
      if (offset > buffer->length() || length > buffer->length() - offset) {
        return Status::Error(Code::kInvalidArgument, "transfer", "the range does not lie within the buffer");
      }
      slices.push_back({BufferRef(buffer), offset, length});
    }
    return slices;
  }

  Core* core;
  Engine* engine;
};

// Keeps a buffer and tells where it lies: the call block's list gets [region, offset in the region].
template <size_t N>
napi_value ReturnBuffer(EngineCall<N>& call, BufferRef buffer) {
  auto* out = reinterpret_cast<double*>(&call.core->shared().call[kListAt]);
  out[0] = buffer->region().id();
  out[1] = double(buffer->offset());
  return call.Return(double(call.core->Keep(std::move(buffer))));
}

// allocate(bytes, session that it is for (0: none)): handle
napi_value Allocate(napi_env env, napi_callback_info info) {
  EngineCall<2> call(env, info);
  if (call.engine == nullptr) return nullptr;
  auto buffer = call.engine->pool().Allocate(uint64_t(call.Number(0)), call.Unsigned(1));
  return buffer.ok() ? ReturnBuffer(call, std::move(buffer).value()) : call.Return(buffer.status());
}

// view(session, offset, length): handle of a read-only buffer over the memory behind the tag in the call
// block, or -1 where it cannot be looked at from here
napi_value View(napi_env env, napi_callback_info info) {
  EngineCall<3> call(env, info);
  if (call.engine == nullptr) return nullptr;
  auto buffer = call.engine->View(call.Unsigned(0), call.TagArgument(), uint64_t(call.Number(1)),
                                  uint64_t(call.Number(2)));
  if (buffer.ok()) return ReturnBuffer(call, std::move(buffer).value());
  return buffer.status().no_resource() ? call.Return(-1.0) : call.Return(buffer.status());
}

// release(handle, unless busy): 0 let go, 1 not, because tags or operations still hold the memory
napi_value Release(napi_env env, napi_callback_info info) {
  EngineCall<2> call(env, info);
  if (call.engine == nullptr) return nullptr;
  uint32_t handle = call.Unsigned(0);
  Buffer* buffer = call.core->Find(handle);
  if (buffer != nullptr && call.Unsigned(1) != 0 && buffer->holders() > 1) return call.Return(1.0);
  call.core->Drop(handle);
  return call.Return(0.0);
}

// holders(handle): how many tags and operations hold the memory, besides JavaScript
napi_value Holders(napi_env env, napi_callback_info info) {
  EngineCall<1> call(env, info);
  if (call.engine == nullptr) return nullptr;
  Buffer* buffer = call.core->Find(call.Unsigned(0));
  return call.Return(buffer != nullptr ? double(buffer->holders() - 1) : 0.0);
}

// exportTag(access, audience kind, session, uses (0: unlimited), expires in ms (-1: never), cookie, slices,
// principal): the tag is in the call block
napi_value ExportTag(napi_env env, napi_callback_info info) {
  EngineCall<8> call(env, info);
  if (call.engine == nullptr) return nullptr;
  auto slices = call.Slices(call.Unsigned(6));
  if (!slices.ok()) return call.Return(slices.status());
  TagOptions options;
  options.access = Access(call.Unsigned(0));
  options.audience.kind = Audience::Kind(call.Unsigned(1));
  options.audience.session = call.Unsigned(2);
  if (options.audience.kind == Audience::Kind::kPrincipal) {
    options.audience.principal = Napi::String(env, call.Argument(7)).Utf8Value();
  }
  options.uses = call.Unsigned(3) == 0 ? kUnlimitedUses : call.Unsigned(3);
  double expires_in_ms = call.Number(4);
  if (expires_in_ms >= 0) options.expires_at = NowNs() + uint64_t(expires_in_ms * 1e6);
  options.cookie = uint64_t(call.Number(5));
  options.slices = std::move(slices).value();
  auto tag = call.engine->tags().Export(std::move(options));
  if (!tag.ok()) return call.Return(tag.status());
  std::copy(tag->bytes.begin(), tag->bytes.end(), &call.core->shared().call[kTagAt]);
  return nullptr;
}

// revokeTag(): the tag in the call block
napi_value RevokeTag(napi_env env, napi_callback_info info) {
  EngineCall<1> call(env, info);
  if (call.engine != nullptr) call.engine->tags().Revoke(call.TagArgument());
  return nullptr;
}

// releaseTags(session, count): the peer's tags in the call block's list
napi_value ReleaseTags(napi_env env, napi_callback_info info) {
  EngineCall<2> call(env, info);
  if (call.engine == nullptr) return nullptr;
  uint32_t count = call.Unsigned(1);
  std::vector<Tag> tags;
  tags.reserve(count);
  ConstBytes list = call.core->shared().call.subspan(kListAt);
  for (uint32_t i = 0; i < count; i++) tags.push_back(Tag::From(list.subspan(i * Tag::kSize, Tag::kSize)));
  call.engine->ReleaseTags(call.Unsigned(0), tags);
  return nullptr;
}

// send(session, envelope length, attachments, deadline ms): message id, or 0 when the queue is full. The
// envelope is at the beginning of the send arena, the inline payloads follow it in order.
napi_value Send(napi_env env, napi_callback_info info) {
  EngineCall<4> call(env, info);
  if (call.engine == nullptr) return nullptr;
  ConstBytes arena = call.core->shared().send_arena;
  size_t at = call.Unsigned(1);
  OutgoingMessage message;
  message.envelope = arena.first(at);
  message.deadline_ms = call.Unsigned(3);
  const size_t count = call.Unsigned(2);
  SPLITPLANE_CHECK(count <= kAttachmentsMax);
  std::vector<OutgoingAttachment> attachments(count);
  std::span<const double> lengths = call.List(count);
  for (size_t i = 0; i < count; i++) {
    if (lengths[i] < 0) continue;
    attachments[i].is_inline = true;
    attachments[i].inline_payload = arena.subspan(at, size_t(lengths[i]));
    at += size_t(lengths[i]);
  }
  message.attachments = attachments;
  auto id = call.engine->Send(call.Unsigned(0), message);
  if (id.ok()) return call.Return(double(*id));
  if (id.status().no_resource()) return call.Return(0.0);
  return call.Return(id.status());
}

// sendBatch(session, count, content length): id, or 0 when the queue is full. The content is at the beginning
// of the send arena.
napi_value SendBatch(napi_env env, napi_callback_info info) {
  EngineCall<3> call(env, info);
  if (call.engine == nullptr) return nullptr;
  const OutgoingBatch batch{call.Unsigned(1), call.core->shared().send_arena.first(call.Unsigned(2))};
  auto id = call.engine->SendBatch(call.Unsigned(0), batch);
  if (id.ok()) return call.Return(double(*id));
  if (id.status().no_resource()) return call.Return(0.0);
  return call.Return(id.status());
}

// cancelMessage(session, id): 1 when it was still queued and is gone
napi_value CancelMessage(napi_env env, napi_callback_info info) {
  EngineCall<2> call(env, info);
  if (call.engine == nullptr) return nullptr;
  return call.Return(double(call.engine->CancelMessage(call.Unsigned(0), MessageId(call.Number(1)))));
}

// consume(session, messages, bytes)
napi_value Consume(napi_env env, napi_callback_info info) {
  EngineCall<3> call(env, info);
  if (call.engine != nullptr)
    call.engine->Consume(call.Unsigned(0), call.Unsigned(1), uint64_t(call.Number(2)));
  return nullptr;
}

// read(session, offset, slices, checksum): operation, or 0 when every byte is in place already. The tag is in
// the call block, the target's slices in its list.
napi_value Read(napi_env env, napi_callback_info info) {
  EngineCall<4> call(env, info);
  if (call.engine == nullptr) return nullptr;
  auto slices = call.Slices(call.Unsigned(2));
  if (!slices.ok()) return call.Return(slices.status());
  if (call.engine->ReadNow(call.Unsigned(0), call.TagArgument(), uint64_t(call.Number(1)), *slices)) {
    return call.Return(0.0);
  }
  auto operation = call.engine->Read(call.Unsigned(0), call.TagArgument(), {}, uint64_t(call.Number(1)),
                                     std::move(slices).value(), {.checksum = call.Unsigned(3) != 0});
  return operation.ok() ? call.Return(double(*operation)) : call.Return(operation.status());
}

// write(session, offset, slices, checksum, notify): operation
napi_value Write(napi_env env, napi_callback_info info) {
  EngineCall<5> call(env, info);
  if (call.engine == nullptr) return nullptr;
  auto slices = call.Slices(call.Unsigned(2));
  if (!slices.ok()) return call.Return(slices.status());
  auto operation = call.engine->Write(call.Unsigned(0), call.TagArgument(), {}, uint64_t(call.Number(1)),
                                      std::move(slices).value(),
                                      {.checksum = call.Unsigned(3) != 0, .notify = call.Unsigned(4) != 0});
  return operation.ok() ? call.Return(double(*operation)) : call.Return(operation.status());
}

// atomic(session, offset, kind): operation. Operand and comparand are in the call block.
napi_value Atomic(napi_env env, napi_callback_info info) {
  EngineCall<3> call(env, info);
  if (call.engine == nullptr) return nullptr;
  const uint8_t* operands = &call.core->shared().call[kOperandsAt];
  AtomicRequest request{AtomicOperation(call.Unsigned(2)), LoadLittle<uint64_t>(operands),
                        LoadLittle<uint64_t>(operands + sizeof(uint64_t))};
  auto operation =
      call.engine->Atomic(call.Unsigned(0), call.TagArgument(), {}, uint64_t(call.Number(1)), request);
  return operation.ok() ? call.Return(double(*operation)) : call.Return(operation.status());
}

// cancelOperation(operation)
napi_value CancelOperation(napi_env env, napi_callback_info info) {
  EngineCall<1> call(env, info);
  if (call.engine != nullptr) call.engine->CancelOperation(OperationId(call.Number(0)));
  return nullptr;
}

}  // namespace

void DefineHotCalls(napi_env env, napi_value object, EngineObject& engine) {
  constexpr std::pair<const char*, napi_callback> kCalls[] = {
      {"allocate", Allocate},
      {"view", View},
      {"release", Release},
      {"holders", Holders},
      {"exportTag", ExportTag},
      {"revokeTag", RevokeTag},
      {"releaseTags", ReleaseTags},
      {"send", Send},
      {"sendBatch", SendBatch},
      {"cancelMessage", CancelMessage},
      {"consume", Consume},
      {"read", Read},
      {"write", Write},
      {"atomic", Atomic},
      {"cancelOperation", CancelOperation},
  };
  std::vector<napi_property_descriptor> descriptors;
  for (const auto& [name, call] : kCalls) {
    napi_property_descriptor descriptor{};
    descriptor.utf8name = name;
    descriptor.method = call;
    descriptor.attributes = napi_default_method;
    descriptor.data = &engine;
    descriptors.push_back(descriptor);
  }
  // Fails only where the environment is ending, and then nobody calls.
  (void)napi_define_properties(env, object, descriptors.size(), descriptors.data());
}

}  // namespace splitplane::addon
