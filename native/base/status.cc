// The texts of Status and what errno values mean as codes. Knows nothing of the operations that failed beyond
// their names.
#include "native/base/status.h"

#include <cerrno>
#include <iterator>
#include <system_error>

namespace splitplane {
namespace {

constexpr std::string_view kCodeNames[] = {
#define X(name, text) text,
    SPLITPLANE_ERROR_CODES(X)
#undef X
};
static_assert(std::size(kCodeNames) == size_t(Code::kCount));

// The same errno means different things to somebody who connects and to somebody who was connected.
Code CodeFromErrno(std::string_view operation, int system_errno) {
  const bool connecting = operation == "connect";
  switch (system_errno) {
    case ENOMEM:
      return Code::kOutOfMemory;
    case EMFILE:
    case ENFILE:
      return Code::kLimitExceeded;
    case EACCES:
    case EPERM:
      return Code::kPermissionDenied;
    case EADDRINUSE:
      return Code::kAddressInUse;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
      return Code::kAddressInvalid;
    case ECONNREFUSED:
      return Code::kConnectionRefused;
    case ENOENT:  // no such unix socket; anywhere else a missing file is nothing special
      return connecting ? Code::kConnectionRefused : Code::kSystem;
    case ETIMEDOUT:
      return connecting ? Code::kConnectTimeout : Code::kPeerUnresponsive;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
      return connecting ? Code::kConnectionRefused : Code::kConnectionLost;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
      return Code::kConnectionLost;
    case ECANCELED:
      return Code::kAborted;
    case EOPNOTSUPP:
    case ENOSYS:
    case EPROTONOSUPPORT:
      return Code::kUnsupported;
    default:
      return Code::kSystem;
  }
}

}  // namespace

std::string_view CodeName(Code code) {
  return code < Code::kCount ? kCodeNames[size_t(code)] : std::string_view("UNKNOWN");
}

Code CodeFromWire(uint16_t value) {
  return value < uint16_t(Code::kCount) ? Code(value) : Code::kProtocolViolation;
}

Status Status::Error(Code code, const char* operation, std::string detail, int system_errno) {
  Status status;
  status.code_ = code;
  status.info_ = std::make_shared<const Info>(Info{operation, system_errno, std::move(detail)});
  return status;
}

Status Status::Errno(const char* operation, int system_errno, std::string detail) {
  return Error(CodeFromErrno(operation, system_errno), operation, std::move(detail), system_errno);
}

Status Status::NoResource() {
  Status status;
  status.code_ = Code::kNoResource;
  return status;
}

std::string Status::ToString() const {
  if (!info_) return std::string(CodeName(code_));
  std::string text = info_->operation;
  if (!info_->detail.empty()) text += ": " + info_->detail;
  if (info_->system_errno != 0) {
    text += " (" + std::system_category().message(info_->system_errno) + ")";
  }
  return text;
}

}  // namespace splitplane
