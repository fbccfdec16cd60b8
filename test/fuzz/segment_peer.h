// The peer of segment.fuzz.cc: what the input of the fuzzer has it say. It greets, writes records and any
// other bytes into its segment, stores any positions and words, changes them while the other side looks,
// hands over memory and hangs up. Bodies are grafted on what the other side has lent, because nobody would
// guess a tag.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/base/check.h"
#include "native/memory/tag_table.h"
#include "native/shm/ring.h"
#include "native/shm/socket.h"

namespace splitplane::shm {

inline constexpr uint64_t kSlabBytes = 64 * 1024;
// Of the memory that the side names to the peer.
inline constexpr uint64_t kNamedBytes = 4096;

// What the peer changes while the side looks.
struct Change {
  uint64_t loads = 0;  // from the segment, before it happens
  uint64_t at = 0;     // in the segment
  uint64_t value = 0;
};
struct Watch {
  uintptr_t begin = 0, end = 0;  // the peer's segment where the side sees it
  uint8_t* writable = nullptr;   // the same, where the peer does
  std::vector<Change> changes;   // the next one last

  void OnLoad(uintptr_t from) {
    if (from < begin || from >= end || changes.empty() || changes.back().loads-- > 0) return;
    std::memcpy(writable + changes.back().at, &changes.back().value, sizeof(uint64_t));
    changes.pop_back();
  }
};
class Input {
 public:
  explicit Input(ConstBytes bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t Byte() {
    uint8_t byte = 0;
    Fill({&byte, 1});
    return byte;
  }
  // Small ones are short; those near the end of all numbers are as well.
  uint64_t Number() {
    const uint8_t first = Byte();
    if (first < 0xe0) return first;
    if (first >= 0xf0) return ~uint64_t{Byte()};
    uint8_t bytes[8] = {};
    Fill({bytes, first < 0xe8 ? size_t{2} : size_t{8}});
    return LoadLittle<uint64_t>(bytes);
  }
  // What is not there is zero.
  void Fill(Bytes into) {
    const size_t length = std::min(into.size(), bytes_.size());
    std::copy_n(bytes_.begin(), length, into.begin());
    std::fill(into.begin() + long(length), into.end(), uint8_t{0});
    bytes_ = bytes_.subspan(length);
  }
  template <typename Body>
  Body Raw() {
    Body body;
    Fill({reinterpret_cast<uint8_t*>(&body), sizeof(body)});
    return body;
  }

 private:
  ConstBytes bytes_;
};

inline Fd Memory(uint64_t bytes, int seals) {
  Fd fd(memfd_create("peer", MFD_ALLOW_SEALING | MFD_CLOEXEC));
  SPLITPLANE_CHECK(fd.valid() && ftruncate(fd.get(), off_t(bytes)) == 0);
  SPLITPLANE_CHECK(seals == 0 || fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
  return fd;
}

class FuzzPeer {
 public:
  explicit FuzzPeer(Input& input) : input_(input) {
    Result<Segment> made = Segment::Create(own_fd_);
    SPLITPLANE_CHECK(made.ok());
    own_.emplace(std::move(*made));
  }

  void Dial(const std::string& to) {
    Result<Fd> connected = ConnectTo(*ParseAddress(to));
    SPLITPLANE_CHECK(connected.ok());
    socket_ = std::move(*connected);
  }
  void Accept(const Fd& door) {
    socket_ = Fd(accept4(door.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    SPLITPLANE_CHECK(socket_.valid());
  }
  void Greet(bool as_one_should) {
    Greeting greeting;
    if (as_one_should) return Send(&greeting, sizeof(greeting), own_fd_.get());
    uint8_t bytes[2 * sizeof(greeting)];
    input_.Fill(bytes);
    for (size_t i = 0; i < sizeof(greeting); i++) bytes[i] ^= reinterpret_cast<uint8_t*>(&greeting)[i];
    const size_t length =
        (bytes[sizeof(greeting)] & 1) != 0 ? input_.Byte() % sizeof(bytes) : sizeof(greeting);
    SendWith(bytes, length, true);
  }
  // True: the side has greeted, and what it writes can be heard.
  bool Hear() {
    if (!in_) {
      Greeting greeting;
      Result<Received> received =
          ReceivePacket(socket_.get(), {reinterpret_cast<uint8_t*>(&greeting), sizeof(greeting)});
      if (!received.ok() || !received->descriptor.valid()) return false;
      Result<Segment> mapped = Segment::Map(received->descriptor);
      SPLITPLANE_CHECK(mapped.ok());
      its_.emplace(std::move(*mapped));
      in_.emplace(*own_, *its_);
    }
    RingReader::Record record;
    while (in_->Next(record)) {
      Loan loan;
      if (record.kind == RecordKind::kLoan && CopyBody(record, loan)) loans_.push_back(loan);
      in_->Advance();
    }
    // What is written by the rules can be read, unless it was overwritten because this peer said it may be.
    SPLITPLANE_CHECK(!in_->broken() || lied_);
    in_->Publish();
    DropPackets();
    return true;
  }
  void Say(const std::vector<Tag>& tags) {
    const auto kind = RecordKind(input_.Byte() % (uint32_t(RecordKind::kWriteLent) + 2));
    const uint8_t how = input_.Byte();
    std::vector<uint8_t> body = Body(kind, (how & 1) == 0, tags);
    if ((how & 2) != 0) body.resize(input_.Number() % (kBodyBytesMax + 9), uint8_t(how));
    Put(kind, body, (how & 4) != 0 ? uint32_t(input_.Number()) : uint32_t(body.size()));
  }
  void StoreWord() {
    SegmentWords& words = own_->words();
    const uint8_t which = input_.Byte();
    const uint64_t base = (which & 8) != 0 ? written_ : 0;
    const uint64_t value = base + input_.Number();
    switch (which % 6) {
      case 0:
        return words.written.store(value);
      case 1:
        lied_ = true;
        return words.read.store(value);
      case 2:
        return words.sleep.store(uint32_t(value));
      case 3:
        return words.wants_room.store(uint32_t(value));
      case 4:
        return own_->standing(uint32_t(input_.Number() % kLoansMax)).store(uint32_t(value));
      default:
        return own_->looking(uint32_t(input_.Number() % kLoansMax)).store(uint32_t(value));
    }
  }
  void Scribble() {
    const uint64_t at = input_.Number() % (kRingBytes - 256);
    input_.Fill({own_->ring() + at, size_t{input_.Byte()}});
  }
  void PlanChange(Watch& watch) {
    Watched(watch);
    lied_ = true;
    Change change{.loads = input_.Number() % 1024};
    const uint8_t where = input_.Byte();
    const uint64_t ring_at = uint64_t(own_->ring() - watch.writable);
    if (where % 4 == 0) {  // the head of a record to come
      change.at = ring_at + (written_ + where / 4) % kRingBytes;
      change.value = uint64_t{input_.Byte()} << 32 | uint32_t(input_.Number());
    } else if (where % 4 == 1) {  // a position, or that it sleeps
      change.at = where / 4 % 3 * sizeof(SegmentWords) / 3;
      change.value = input_.Number() + ((where & 0x80) != 0 ? written_ : 0);
    } else {
      change.at = input_.Number();
      change.value = input_.Number();
    }
    change.at %= ring_at + kRingBytes - sizeof(change.value);
    watch.changes.insert(watch.changes.begin(), change);
  }
  void SendPacketOfAnyKind() {
    const uint8_t how = input_.Byte();
    Packet packet{PacketKind::kSlab, input_.Byte() % 4u, kSlabBytes};
    if ((how & 1) != 0) packet = input_.Raw<Packet>();
    const size_t length = (how & 2) != 0 ? input_.Byte() % (sizeof(packet) + 1) : sizeof(packet);
    SendWith(&packet, length, (how & 4) != 0);
  }
  void HangUp() { socket_.Reset(); }

 private:
  // With good memory, or with what the input says.
  void SendWith(const void* bytes, size_t length, bool any) {
    static const Fd good = Memory(kSlabBytes, F_SEAL_SHRINK | F_SEAL_GROW);
    static const Fd unsealed = Memory(kSlabBytes, 0);
    static const Fd small = Memory(4096, F_SEAL_SHRINK | F_SEAL_GROW);
    static const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    const int descriptors[] = {own_fd_.get(), good.get(), unsealed.get(), small.get(), null.get(), -1};
    Send(bytes, length, any ? descriptors[input_.Byte() % std::size(descriptors)] : good.get());
  }
  void Send(const void* bytes, size_t length, int descriptor) {
    if (!socket_.valid()) return;
    (void)SendPacket(socket_.get(), {static_cast<const uint8_t*>(bytes), length}, descriptor);
  }
  void DropPackets() {
    uint8_t bytes[sizeof(Packet)];
    for (;;) {
      Result<Received> received = ReceivePacket(socket_.get(), bytes);
      if (!received.ok() || received->bytes == 0) return;
    }
  }

  // A body of this kind. A plausible one is about what there is, so that a few bytes of input say it.
  std::vector<uint8_t> Body(RecordKind kind, bool plausible, const std::vector<Tag>& tags) {
    switch (kind) {
      case RecordKind::kLoan:
        return Flat(plausible ? PlausibleLoan() : input_.Raw<Loan>());
      case RecordKind::kTook:
      case RecordKind::kGaveBack:
        return Flat(plausible ? PlausibleTake() : input_.Raw<Take>());
      case RecordKind::kRead:
      case RecordKind::kWrite:
        return Flat(plausible ? PlausibleRequest(tags) : input_.Raw<Request>());
      case RecordKind::kWriteLent: {
        if (!plausible) return Flat(input_.Raw<WriteLent>());
        const Loan loan = PlausibleLoan();
        WriteLent asked{PlausibleRequest(tags), loan.offset, loan.place, loan.standing, loan.slab};
        return Flat(asked);
      }
      case RecordKind::kAtomic: {
        if (!plausible) return Flat(input_.Raw<AtomicAsked>());
        const AtomicAsked asked{PlausibleRequest(tags), input_.Number(), input_.Number(),
                                input_.Byte() % 2u + 1};
        return Flat(asked);
      }
      case RecordKind::kReadDone:
      case RecordKind::kWriteDone:
      case RecordKind::kAtomicDone:
      case RecordKind::kGoodbye:
        return Flat(Outcome{input_.Number(), input_.Number(), uint32_t(input_.Number())});
      case RecordKind::kReadData:
      case RecordKind::kWriteData: {
        std::vector<uint8_t> bytes = Flat(Number{input_.Number()});
        bytes.resize(bytes.size() + input_.Number() % (kBodyBytesMax - sizeof(Number) + 1), 0xda);
        return bytes;
      }
      case RecordKind::kFrame:
        return std::vector<uint8_t>(input_.Number() % (kBodyBytesMax + 1), 0xfa);
      default:
        return Flat(Number{input_.Number()});
    }
  }
  Loan PlausibleLoan() {
    const uint8_t how = input_.Byte();
    Loan loan{.place = input_.Byte(), .slab = how / 8 % 4u, .uses = kUnlimitedUses};
    loan.tag.fill(how % 8);
    loan.offset = input_.Number() % kSlabBytes;
    loan.length = kSlabBytes - loan.offset - input_.Number() % (kSlabBytes - loan.offset);
    if ((how & 32) != 0) loan.uses = input_.Byte();
    if ((how & 64) != 0) loan.standing = uint32_t(input_.Number());
    if ((how & 128) != 0) loan.expires_at = input_.Number();
    return loan;
  }
  Take PlausibleTake() {
    const uint8_t how = input_.Byte();
    Take take{.number = how % 4u, .length = 1, .over = how / 4 % 2u};
    if (loans_.empty()) return take;
    const Loan& loan = loans_[input_.Byte() % loans_.size()];
    take.place = loan.place;
    take.standing = loan.standing;
    take.offset = input_.Number() % loan.length;
    take.length = loan.length - take.offset - input_.Number() % (loan.length - take.offset);
    if ((how & 8) != 0) take.standing += uint32_t(input_.Number());
    return take;
  }
  Request PlausibleRequest(const std::vector<Tag>& tags) {
    Request request{.number = input_.Byte() % 16u};
    if (!tags.empty()) request.tag = tags[input_.Byte() % tags.size()].bytes;
    request.offset = input_.Number();
    request.length = kNamedBytes - std::min(input_.Number(), kNamedBytes);
    request.notify = request.offset % 2;
    return request;
  }
  template <typename T>
  static std::vector<uint8_t> Flat(const T& body) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&body);
    return {bytes, bytes + sizeof(body)};
  }
  // Wherever there is room or not: the side must not believe that there was.
  void Put(RecordKind kind, ConstBytes body, uint32_t body_bytes) {
    const uint64_t need = RecordBytes(body.size());
    if (kRingBytes - written_ % kRingBytes < need) {
      const auto rest = uint32_t(kRingBytes - written_ % kRingBytes - sizeof(RecordHead));
      PutHead({rest, RecordKind::kPad});
      written_ += sizeof(RecordHead) + rest;
    }
    PutHead({body_bytes, kind});
    std::copy(body.begin(), body.end(), own_->ring() + written_ % kRingBytes + sizeof(RecordHead));
    written_ += need;
    own_->words().written.store(written_);
  }
  void PutHead(RecordHead head) { std::memcpy(own_->ring() + written_ % kRingBytes, &head, sizeof(head)); }

  // Finds out where the side sees this segment.
  void Watched(Watch& watch) const {
    if (watch.begin != 0) return;
    const auto* here = reinterpret_cast<const uint8_t*>(&own_->words());
    watch.writable = const_cast<uint8_t*>(here);
    struct stat about {};
    SPLITPLANE_CHECK(fstat(own_fd_.get(), &about) == 0);
    const std::unique_ptr<FILE, int (*)(FILE*)> maps(fopen("/proc/self/maps", "re"), &fclose);
    char line[512];
    while (fgets(line, sizeof(line), maps.get())) {
      uintptr_t begin = 0, end = 0;
      uint64_t inode = 0;
      const int found = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %" SCNu64, &begin, &end, &inode);
      if (found != 3 || inode != about.st_ino || begin == reinterpret_cast<uintptr_t>(here)) continue;
      watch.begin = begin;
      watch.end = end;
    }
  }

  Input& input_;
  Fd socket_, own_fd_;
  std::optional<Segment> own_, its_;
  std::optional<RingReader> in_;
  uint64_t written_ = 0;
  std::vector<Loan> loans_;
  bool lied_ = false;  // in a way that lets the side overwrite what was not read
};

}  // namespace splitplane::shm
