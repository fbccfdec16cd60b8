// The input of one socket, as a state machine over records. Payload of transfers is received straight into
// its final memory in pieces that are still in the cache when their checksum is computed; the same read
// brings the trailer and the next head along. Frames and heads go through a scratch buffer that all sockets
// of a transport share. Judges each record by itself; what it means is for the handler.
#pragma once

#include <cstdint>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/clock.h"
#include "native/base/status.h"
#include "native/tcp/record.h"
#include "native/tcp/transfer.h"
#include "native/transport/transport.h"

struct iovec;

namespace splitplane::tcp {

inline constexpr size_t kScratchBytes = 64 * 1024;
// One read of payload: its checksum finds it in the cache. Of 64, 128 and 256 KiB this took the least time
// per byte.
inline constexpr size_t kPieceBytes = 128 * 1024;

// What all receivers of a transport share. Nothing in it outlives a call of Receive but what `spare` lends.
struct ReceiveBuffers {
  std::vector<uint8_t> scratch = std::vector<uint8_t>(kScratchBytes);
  std::vector<uint8_t> trash = std::vector<uint8_t>(kPieceBytes);  // where discarded payload goes
  // Room for an item that is not complete yet, while nobody needs it: an idle socket holds none.
  std::vector<uint8_t> spare;
};

class Receiver {
 public:
  // Every method ends the input by answering with anything but ok.
  class Handler {
   public:
    virtual Status OnRecord(const Record& record) = 0;  // without payload
    virtual Status OnFrame(ConstBytes frame) = 0;
    // Where the part's payload goes: stays valid until OnPartEnd.
    virtual Result<Inbound*> OnPart(const Record& record) = 0;
    // The memory may not be touched any more: the handler makes the transfer `discarding`.
    virtual void OnUnusable(Inbound& transfer, Status why) = 0;
    virtual Status OnPartEnd(Inbound& transfer, const Trailer& trailer) = 0;
    // How many bytes may be read where a head is expected. More saves a system call when what follows is
    // small, and costs a copy when it is the payload of a transfer.
    virtual size_t ReadAhead() const = 0;

   protected:
    ~Handler() = default;
  };

  // `takes_frames`: of a control socket; elsewhere a frame is a violation, found before anything is kept for
  // it.
  Receiver(Handler& handler, ReceiveBuffers& buffers, TransportStats& stats, bool takes_frames)
      : handler_(handler), buffers_(buffers), stats_(stats), takes_frames_(takes_frames) {}
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  // Bytes of payload that the part under way still brings.
  uint64_t payload_left() const { return expect_ == Expect::kPayload ? part_left_ : 0; }

  // Reads until the socket is empty or the budget spent. `received` counts bytes. The end of the stream is
  // kConnectionLost.
  Status Receive(int fd, MonotonicNs now, int64_t& budget, uint64_t& received);

 private:
  enum class Expect : uint8_t { kHead, kFrame, kPayload, kTrailer };

  size_t AddTargets(iovec* gather, size_t& count, MonotonicNs now);
  void Place(uint64_t length);
  Status Consume(const uint8_t* bytes, size_t length, MonotonicNs now);
  void Hold(const uint8_t* bytes, size_t length);
  Status HandleHeld();
  size_t Needed(const uint8_t* bytes) const;
  Status Handle(ConstBytes item);
  Status HandleHead(ConstBytes item);

  Handler& handler_;
  ReceiveBuffers& buffers_;
  TransportStats& stats_;
  const bool takes_frames_;
  Expect expect_ = Expect::kHead;
  std::vector<uint8_t> held_;  // an item that is not complete yet
  size_t frame_bytes_ = 0;     // payload of the frame that is expected
  Inbound* part_ = nullptr;    // the transfer whose payload or trailer is expected
  uint64_t part_left_ = 0;
  bool part_checksum_ = false;
  uint32_t part_crc_ = 0;
};

}  // namespace splitplane::tcp
