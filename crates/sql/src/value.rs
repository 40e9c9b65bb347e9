//! What is given to a statement.

/// A parameter of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, of whatever width the column has.
    Signed(i64),
    /// A number that is not negative; PostgreSQL has none above `i64::MAX`.
    Unsigned(u64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// True or false.
    Flag(bool),
}
