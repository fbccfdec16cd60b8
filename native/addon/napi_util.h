// Small idioms between Node-API and the core: Status to a JavaScript error, arguments of hot calls,
// properties of options objects. Everything here runs on the JavaScript thread.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "native/base/check.h"
#include "native/base/status.h"

namespace splitplane::addon {

// An Error with `code`, and `errno`/`syscall` where the operating system said why. The message is the
// sentence.
inline Napi::Error MakeError(Napi::Env env, const Status& status) {
  std::string code(CodeName(status.code()));
  Napi::Error error = Napi::Error::New(env, status.ToString());
  error.Set("code", Napi::String::New(env, code));
  if (status.system_errno() != 0) {
    error.Set("errno", Napi::Number::New(env, status.system_errno()));
    error.Set("syscall", Napi::String::New(env, status.operation()));
  }
  return error;
}

inline void Throw(Napi::Env env, const Status& status) {
  MakeError(env, status).ThrowAsJavaScriptException();
}

// Arguments of a hot call: numbers only, read without the C++ wrapper. Numbers are trusted to be numbers
// because lib/dataplane, and nobody else, makes these calls.
template <size_t N>
class HotCall {
 public:
  HotCall(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = N;
    SPLITPLANE_CHECK(napi_get_cb_info(env, info, &count, args_, nullptr, &data_) == napi_ok);
  }
  // What the function was made with.
  template <typename T>
  T* Data() const {
    return static_cast<T*>(data_);
  }
  double Number(size_t index) const {
    double value = 0;
    napi_get_value_double(env_, args_[index], &value);
    return value;
  }
  uint32_t Unsigned(size_t index) const {
    uint32_t value = 0;
    napi_get_value_uint32(env_, args_[index], &value);
    return value;
  }
  napi_value Return(double value) const {
    napi_value result;
    napi_create_double(env_, value, &result);
    return result;
  }
  napi_value Return(const Status& status) const {
    if (!status.ok()) Throw(env_, status);
    return nullptr;
  }
  napi_value Argument(size_t index) const { return args_[index]; }

 private:
  napi_env env_;
  napi_value args_[N] = {};
  void* data_ = nullptr;
};

// A property of an object that lib/dataplane made. Undefined where the environment is ending and answers
// nothing: what comes of that is never used, but the wrapper ends the process over a value that is not there.
inline Napi::Value Property(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  return value.IsEmpty() ? object.Env().Undefined() : value;
}

// Reading an options object that lib/dataplane has validated and completed.
inline uint32_t UnsignedOption(const Napi::Object& options, const char* name) {
  return Property(options, name).As<Napi::Number>().Uint32Value();
}
inline double NumberOption(const Napi::Object& options, const char* name) {
  return Property(options, name).As<Napi::Number>().DoubleValue();
}
// Empty where the environment is ending.
inline std::vector<std::string> StringsOf(const Napi::Value& list) {
  std::vector<std::string> strings;
  auto array = list.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) {
    Napi::Value text = array.Get(i);
    if (text.IsEmpty()) return {};
    strings.push_back(text.As<Napi::String>().Utf8Value());
  }
  return strings;
}
inline std::string StringOption(const Napi::Object& options, const char* name) {
  return Property(options, name).As<Napi::String>().Utf8Value();
}

}  // namespace splitplane::addon
