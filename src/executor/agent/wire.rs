//! The agent protocol's data (draft-miller-ssh-agent, RFC 4251 §5): bounded frames, strings, numbers.

use std::io::{self, Read, Write};

/// The largest message that OpenSSH's agent takes.
pub(super) const MESSAGE_BYTES_MAX: u32 = 256 * 1024;

/// `SSH_AGENT_FAILURE`
pub(super) const FAILURE: u8 = 5;
/// `SSH_AGENTC_REQUEST_IDENTITIES`
pub(super) const REQUEST_IDENTITIES: u8 = 11;
/// `SSH_AGENT_IDENTITIES_ANSWER`
pub(super) const IDENTITIES_ANSWER: u8 = 12;
/// `SSH_AGENTC_SIGN_REQUEST`
pub(super) const SIGN_REQUEST: u8 = 13;
/// `SSH_AGENT_SIGN_RESPONSE`
pub(super) const SIGN_RESPONSE: u8 = 14;

/// The next message; `None` at the end of the stream. An empty or too long one is an error.
pub(super) fn read_message(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(length);
    if length == 0 || length > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = Vec::new();
    stream.take(length.into()).read_to_end(&mut message)?;
    if message.len() as u64 == u64::from(length) {
        Ok(Some(message))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Sends a message, length first, in one write.
pub(super) fn write_message(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(message.len() + 4);
    put_string(&mut frame, message);
    stream.write_all(&frame)
}

/// Appends a string: its length, its bytes.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    out.extend(bytes);
}

/// Appends a positive number without leading zeros, as `mpint`.
pub(super) fn put_number(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = bytes.iter().position(|byte| *byte != 0);
    let digits = &bytes[start.unwrap_or(bytes.len())..];
    let sign: &[u8] = match digits.first() {
        Some(first) if first & 0x80 != 0 => &[0],
        _ => &[],
    };
    put_string(out, &[sign, digits].concat());
}

/// Reads the fields of a message from its start.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn number(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let mut fields = Fields(self.0);
        let length = usize::try_from(fields.number()?).ok()?;
        let (string, rest) = fields.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }
}
