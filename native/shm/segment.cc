// Making and mapping the two segments of a connection.
#include "native/shm/segment.h"

#include <new>

namespace splitplane::shm {

Result<Segment> Segment::Create(Fd& fd) {
  Result<std::shared_ptr<Mapping>> mapping = Mapping::Create(kBytes, fd);
  if (!mapping.ok()) return mapping.status();
  if (Status sealed = SealAgainstWriting(fd); !sealed.ok()) return sealed;
  new ((*mapping)->data()) SegmentWords();
  return Segment(std::move(*mapping));
}

Result<Segment> Segment::Map(const Fd& fd) {
  Result<std::shared_ptr<Mapping>> mapping = Mapping::OfPeer(fd, kBytes, Mapping::Sharing::kShared);
  if (!mapping.ok()) return mapping.status();
  return Segment(std::move(*mapping));
}

}  // namespace splitplane::shm
