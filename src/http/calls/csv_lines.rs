//! Where the records of a CSV file begin and end, by the lines that an editor counts: LF, CRLF or a lone CR end a line,
//! and a quoted field may go over several. What stands in a record is read elsewhere.

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span<'a> {
    /// On which it begins, from 1.
    pub line: u64,
    pub bytes: &'a [u8],
    /// The line of a quote that the rest of the file does not close.
    pub unclosed: Option<u64>,
}

/// The records of a file; blank lines are none.
pub(crate) struct Records<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Records<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self { text: text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text), at: 0, line: 1 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn step(&mut self) {
        let is_pair = self.peek() == Some(b'\r') && self.text.get(self.at + 1) == Some(&b'\n');
        if matches!(self.peek(), Some(b'\n' | b'\r')) && !is_pair {
            self.line += 1;
        }
        self.at += 1;
    }

    /// Goes to the end of a record; gives the line of a quote that stays open.
    fn pass(&mut self) -> Option<u64> {
        let mut quote = None;
        let mut begins_field = true;
        while let Some(byte) = self.peek() {
            match (byte, quote) {
                (b'\r' | b'\n', None) => return None,
                (b'"', None) if begins_field => quote = Some(self.line),
                // Two quotes are one of the text.
                (b'"', Some(_)) if self.text.get(self.at + 1) == Some(&b'"') => self.step(),
                (b'"', Some(_)) => quote = None,
                _ => {}
            }
            begins_field = byte == b',' && quote.is_none();
            self.step();
        }
        quote
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Span<'a>;

    fn next(&mut self) -> Option<Span<'a>> {
        loop {
            while matches!(self.peek(), Some(b'\r' | b'\n')) {
                self.step();
            }
            self.peek()?;
            let begin = self.at;
            let line = self.line;
            let unclosed = self.pass();
            let bytes = self.text.get(begin..self.at).unwrap_or_default();
            if !bytes.trim_ascii().is_empty() {
                return Some(Span { line, bytes, unclosed });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u64, &str)> {
        Records::of(text.as_bytes()).map(|span| (span.line, std::str::from_utf8(span.bytes).unwrap())).collect()
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        for end in ["\n", "\r\n", "\r"] {
            let text = |lines: &[&str]| lines.join(end);
            let plain = text(&["id,type", "a,b", "", "   ", "c,d", ""]);
            assert_eq!(lines(&plain), [(1, "id,type"), (2, "a,b"), (5, "c,d")], "{end:?}");
            let first_is_blank = text(&["", "id,type", "a,b"]);
            assert_eq!(lines(&first_is_blank), [(2, "id,type"), (3, "a,b")], "{end:?}");
            let quoted = text(&["id,type", "\"a", "", "x\",b", "c,\"d\"\"\"", "e,f\"g"]);
            let numbers: Vec<u64> = Records::of(quoted.as_bytes()).map(|span| span.line).collect();
            assert_eq!(numbers, [1, 2, 5, 6], "{end:?}");
        }
        assert_eq!(lines("\u{FEFF}\"id\",type\r\na,b\n\rc,d"), [(1, "\"id\",type"), (2, "a,b"), (4, "c,d")]);
        assert_eq!(lines(""), []);
    }

    #[test]
    fn a_quote_that_nothing_closes_is_found_where_it_opens() {
        let text = "id,type\r\na,b\r\n\r\nc,\"d\r\ne,f\r\n";
        let last = Records::of(text.as_bytes()).last().unwrap();
        assert_eq!((last.line, last.unclosed), (4, Some(4)));
        let later = Records::of(b"a,\"b\nc\",\"d\n").next().unwrap();
        assert_eq!((later.line, later.unclosed), (1, Some(2)));
        assert!(Records::of(b"a,\"b\nc\"\nd,e").all(|span| span.unclosed.is_none()));
    }
}
