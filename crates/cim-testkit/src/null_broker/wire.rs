//! Primitives of the Kafka protocol: big-endian integers, strings, and the varints inside records.
//!
//! Left out: messages. Invariant: reading never goes beyond the bytes given, and says so with [`Malformed`].

/// Bytes end early or say what cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) type Result<T> = std::result::Result<T, Malformed>;

/// Bytes being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.bytes(N)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn i8(&mut self) -> Result<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A string with 16 bits of length; −1 is none.
    pub(super) fn string(&mut self) -> Result<Option<&'a str>> {
        let Ok(length) = usize::try_from(self.i16()?) else { return Ok(None) };
        std::str::from_utf8(self.bytes(length)?).map(Some).map_err(|_| Malformed)
    }

    /// Bytes with 32 bits of length; −1 is none.
    pub(super) fn blob(&mut self) -> Result<Option<&'a [u8]>> {
        let Ok(length) = usize::try_from(self.i32()?) else { return Ok(None) };
        self.bytes(length).map(Some)
    }

    /// The number of elements that follow; none for a null array.
    pub(super) fn count(&mut self) -> Result<Option<usize>> {
        Ok(usize::try_from(self.i32()?).ok())
    }

    /// A zigzag varint.
    pub(super) fn varint(&mut self) -> Result<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ (value as i64 & 1).wrapping_neg());
            }
        }
        Err(Malformed)
    }

    /// Bytes with a varint of length; −1 is none.
    pub(super) fn varint_blob(&mut self) -> Result<Option<&'a [u8]>> {
        let Ok(length) = usize::try_from(self.varint()?) else { return Ok(None) };
        self.bytes(length).map(Some)
    }
}

/// Bytes being written.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn i8(&mut self, value: i8) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    pub(super) fn string(&mut self, text: &str) {
        self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        self.0.extend(text.bytes().take(i16::MAX as usize));
    }

    pub(super) fn null_string(&mut self) {
        self.i16(-1);
    }

    /// The number of elements that follow.
    pub(super) fn count(&mut self, count: usize) {
        self.i32(i32::try_from(count).unwrap_or(i32::MAX));
    }

    /// The message behind its length, ready to be sent.
    pub(super) fn framed(self) -> Vec<u8> {
        let mut frame = u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        frame.extend(self.0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_zigzag_and_bounded() {
        for (bytes, value) in [
            (&[0][..], 0),
            (&[1], -1),
            (&[2], 1),
            (&[0x80, 0x01], 64),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], -2_147_483_648),
        ] {
            assert_eq!(Reader(bytes).varint(), Ok(value));
        }
        assert_eq!(Reader(&[0x80; 11]).varint(), Err(Malformed));
        assert_eq!(Reader(&[0x80]).varint(), Err(Malformed));
    }

    #[test]
    fn lengths_beyond_the_bytes_are_malformed() {
        assert_eq!(Reader(&[0x7f, 0xff, 0xff, 0xff, 1]).blob(), Err(Malformed));
        assert_eq!(Reader(&[0, 2, b'a']).string(), Err(Malformed));
        assert_eq!(Reader(&[0xff, 0xff]).string(), Ok(None));
    }
}
