// The module: the Engine class, the list of error codes that TypeScript mirrors, the names of the transports,
// and the checksum for whoever wants to verify bytes himself.
#include <napi.h>

#include "native/addon/engine_object.h"
#include "native/base/crc32c.h"
#include "native/base/status.h"

namespace splitplane::addon {
namespace {

// crc32c(bytes: Uint8Array, crc: number): number
Napi::Value Checksum(const Napi::CallbackInfo& info) {
  auto bytes = info[0].As<Napi::Uint8Array>();
  uint32_t crc = info[1].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(info.Env(), Crc32c(crc, bytes.Data(), bytes.ByteLength()));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", EngineObject::Define(env));
  Napi::Array codes = Napi::Array::New(env);
  for (uint32_t i = 0; i < uint32_t(Code::kCount); i++) {
    codes.Set(i, Napi::String::New(env, std::string(CodeName(Code(i)))));
  }
  exports.Set("errorCodes", codes);
  Napi::Array transports = Napi::Array::New(env);
  for (const TransportEntry& entry : AllTransports()) {
    transports.Set(transports.Length(), Napi::String::New(env, entry.name));
  }
  exports.Set("transports", transports);
  exports.Set("crc32c", Napi::Function::New(env, Checksum, "crc32c"));
  exports.Set("crc32cImplementation", Crc32cImplementation());
  return exports;
}

}  // namespace

NODE_API_MODULE(splitplane, Init)

}  // namespace splitplane::addon
