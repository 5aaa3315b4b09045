//! Writing messages into a buffer that may be too small.

/// The message would be longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is full")]
pub struct Full;

/// A name as it is written: labels, and then the rest.
#[derive(Debug, Clone, Copy)]
pub struct Spelling<'n> {
    /// Labels in wire form.
    pub labels: &'n [u8],
    /// What stands behind them.
    pub rest: Rest<'n>,
}

/// The end of a name.
#[derive(Debug, Clone, Copy)]
pub enum Rest<'n> {
    /// The message holds it already.
    At(Pointer),
    /// Labels in wire form, up to the root label (where that does not stand before it already).
    Spelled(&'n [u8]),
}

/// An offset that a compression pointer can hold: 14 bits (RFC 1035 §4.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer(u16);

impl Pointer {
    /// A pointer to `offset`; `None` where it does not fit in 14 bits.
    #[inline]
    pub fn to(offset: usize) -> Option<Pointer> {
        u16::try_from(offset).ok().filter(|o| *o < 0x4000).map(Pointer)
    }

    /// As it stands in a message.
    #[inline]
    pub fn octets(self) -> [u8; 2] {
        (0xc000 | self.0).to_be_bytes()
    }

    /// The offset.
    #[inline]
    pub fn offset(self) -> usize {
        self.0.into()
    }
}

/// Writes a message front to back, never beyond its limit. A failed write may leave octets behind: [`Writer::record`] takes them back.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    at: usize,
    limit: usize,
}

impl<'b> Writer<'b> {
    /// Writes into `buffer`, at most 65,535 octets: longer messages have no length (RFC 1035 §4.2.2).
    pub fn new(buffer: &'b mut [u8]) -> Writer<'b> {
        let limit = buffer.len().min(65_535);
        Writer { buffer, at: 0, limit }
    }

    /// How many octets are written.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// What is written from `from` on.
    #[inline]
    pub fn written(&self, from: usize) -> &[u8] {
        self.buffer.get(from..self.at).unwrap_or_default()
    }

    /// The same, to be changed.
    #[inline]
    pub fn written_mut(&mut self, from: usize) -> &mut [u8] {
        self.buffer.get_mut(from..self.at).unwrap_or_default()
    }

    /// Takes back everything behind `position`.
    #[inline]
    pub fn rewind(&mut self, position: usize) {
        self.at = self.at.min(position);
    }

    /// Turns everything behind `from` by `octets`: what stood there first stands last.
    #[inline]
    pub fn rotate(&mut self, from: usize, octets: usize) {
        if let Some(written) = self.buffer.get_mut(from..self.at).filter(|written| octets <= written.len()) {
            written.rotate_left(octets);
        }
    }

    /// How many octets the message may have.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Sets how many octets the message may have; what the buffer cannot hold stays out of reach.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(self.buffer.len()).min(65_535);
    }

    /// Appends octets.
    #[inline(always)]
    pub fn put(&mut self, octets: &[u8]) -> Result<(), Full> {
        let end = self.at + octets.len();
        if end > self.limit {
            return Err(Full);
        }
        copy(octets, self.buffer.get_mut(self.at..end).ok_or(Full)?);
        self.at = end;
        Ok(())
    }

    /// Appends 16 bits.
    #[inline(always)]
    pub fn u16(&mut self, value: u16) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    /// Appends 32 bits.
    #[inline(always)]
    pub fn u32(&mut self, value: u32) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    /// Appends a compression pointer.
    #[inline(always)]
    pub fn pointer(&mut self, pointer: Pointer) -> Result<(), Full> {
        self.put(&pointer.octets())
    }

    /// Appends a name.
    #[inline(always)]
    pub fn name(&mut self, name: Spelling<'_>) -> Result<(), Full> {
        // Most owners are a pointer alone; a copy of nothing costs a call.
        if !name.labels.is_empty() {
            self.put(name.labels)?;
        }
        match name.rest {
            Rest::At(pointer) => self.pointer(pointer),
            Rest::Spelled(labels) => self.put(labels),
        }
    }

    /// Overwrites octets that were written before; ignored elsewhere.
    #[inline(always)]
    pub fn set(&mut self, at: usize, octets: &[u8]) {
        let written = self.buffer.get_mut(..self.at).and_then(|written| written.get_mut(at..at + octets.len()));
        if let Some(written) = written {
            written.copy_from_slice(octets);
        }
    }

    /// Overwrites 16 bits that were written before; ignored elsewhere.
    #[inline(always)]
    pub fn set_u16(&mut self, at: usize, value: u16) {
        self.set(at, &value.to_be_bytes());
    }

    /// Appends a record whose data `data` writes; where it does not fit, nothing is left of it.
    #[inline(always)]
    pub fn record(
        &mut self,
        owner: Spelling<'_>,
        rtype: u16,
        class: u16,
        ttl: u32,
        data: impl FnOnce(&mut Writer<'b>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let start = self.at;
        let written = self.record_open(owner, rtype, class, ttl, data);
        if written.is_err() {
            self.at = start;
        }
        written
    }

    #[inline(always)]
    fn record_open(
        &mut self,
        owner: Spelling<'_>,
        rtype: u16,
        class: u16,
        ttl: u32,
        data: impl FnOnce(&mut Writer<'b>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        self.name(owner)?;
        // All fixed fields in one piece, with room for the length: one look at the limit instead of four.
        let ([t0, t1], [c0, c1], [s0, s1, s2, s3]) = (rtype.to_be_bytes(), class.to_be_bytes(), ttl.to_be_bytes());
        self.put(&[t0, t1, c0, c1, s0, s1, s2, s3, 0, 0])?;
        let length_at = self.at - 2;
        data(self)?;
        let length = u16::try_from(self.at - length_at - 2).map_err(|_| Full)?;
        self.set_u16(length_at, length);
        Ok(())
    }
}

/// Copies octets to where there are as many. Most of what is copied is short: two pieces that may overlap cost less than a call.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        16..=32 => copy_ends::<16>(from, to),
        33..=64 => copy_ends::<32>(from, to),
        _ => to.copy_from_slice(from),
    }
}

/// Copies `N` to `2 * N` octets.
#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
        if let Some(to) = to.first_chunk_mut() {
            *to = *first;
        }
        if let Some(to) = to.last_chunk_mut() {
            *to = *last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_does_not_fit_leaves_nothing() {
        let mut buffer = [0xff; 40];
        let mut writer = Writer::new(&mut buffer);
        let owner = Spelling { labels: b"\x01a", rest: Rest::At(Pointer::to(12).unwrap()) };
        writer.record(owner, 1, 1, 30, |w| w.put(&[1, 2, 3, 4])).unwrap();
        assert_eq!(writer.position(), 18);
        assert_eq!(writer.record(owner, 16, 1, 30, |w| w.put(&[0; 20])), Err(Full));
        assert_eq!(writer.position(), 18);
        writer.set_limit(1000);
        assert_eq!(writer.limit(), 40);
        writer.set_limit(19);
        assert_eq!(writer.put(&[0, 0]), Err(Full));
        writer.set_u16(17, 7); // would reach beyond what is written
        assert_eq!(&buffer[..18], b"\x01a\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x01\x02\x03\x04");
    }

    #[test]
    fn pointers_hold_14_bits() {
        assert!(Pointer::to(0x3fff).is_some());
        assert!(Pointer::to(0x4000).is_none());
    }
}
