//! Takes a segment apart: its header, which must be what the segments before it lead to, and its groups.

use super::{Place, Segment, Stop, Walk};
use crate::journal::segment::SegmentFault;
use crate::journal::{Frame, FrameFault, FrameKind, SegmentHeader};
use crate::prefix::NAME;

impl Walk {
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        last: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Stop> {
        if segment.name == NAME {
            return self.prefix(segment);
        }
        if self.is_replaced(segment) {
            return Ok(());
        }
        let bytes = segment.bytes.as_slice();
        let mut place = Place { segment: &segment.name, offset: 0 };
        let Some(frame) = self.frame(bytes, place, FrameKind::Segment, last)? else { return Ok(()) };
        self.header(frame, place)?;
        place.offset += frame.bytes.len();
        while let Some(frame) = self.frame(bytes, place, FrameKind::Group, last)? {
            self.group(frame, place)?;
            place.offset += frame.bytes.len();
            progress(self.bytes + place.offset as u64);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The next frame; `None` at the end of the file, or where the last file ends within a frame.
    fn frame<'b>(
        &mut self,
        bytes: &'b [u8],
        place: Place<'_>,
        kind: FrameKind,
        last: bool,
    ) -> Result<Option<Frame<'b>>, Stop> {
        let next = self.chain.next();
        match Frame::read(bytes, place.offset) {
            Ok(Some(frame)) if frame.kind == kind => Ok(Some(frame)),
            Ok(Some(_)) => {
                Err(place.broken(next, "a piece of another kind stands where its group should begin"))
            }
            Ok(None) if place.offset > 0 || last => Ok(None),
            Ok(None) => Err(place.broken(next, "the segment that should begin with it is empty")),
            Err(FrameFault::Unfinished { found }) if last => {
                self.unfinished = found as u64;
                Ok(None)
            }
            Err(error @ FrameFault::Unknown { .. }) => {
                Err(Stop::Newer(format!("In {} at byte {}: {error}", place.segment, place.offset)))
            }
            Err(error) => Err(place
                .broken(next, format!("the piece of the journal that begins with it is damaged: {error}"))),
        }
    }

    fn header(&mut self, frame: Frame<'_>, place: Place<'_>) -> Result<(), Stop> {
        let next = self.chain.next();
        if !frame.sound {
            return Err(place.broken(next, "the header of the segment that begins with it is damaged"));
        }
        let header = SegmentHeader::parse(frame.bytes).map_err(|error| match error {
            SegmentFault::Version { .. } => Stop::Newer(format!("{}: {error}", place.segment)),
            SegmentFault::Form => place.broken(next, format!("in the segment that begins with it, {error}")),
        })?;
        self.origin.header(&header.origin, next).map_err(|what| place.broken(next, what))?;
        if self.older.is_some() && header.first < next {
            return Ok(());
        }
        self.end_of_older()?;
        self.tally.segments += 1;
        if header != SegmentHeader::new(&header.origin, &self.chain, &self.note)
            || format!("{:020}.seg", header.first.get()) != place.segment
        {
            return Err(place.broken(
                next,
                format!("segment {} does not go on where the one before it ends", place.segment),
            ));
        }
        Ok(())
    }
}
