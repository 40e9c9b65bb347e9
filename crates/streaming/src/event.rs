//! Log lines as values (`streaming-protocol.md` §9.2): the shell prints them, the simulator counts them.

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Operators see it.
    Info,
    /// Something needs attention.
    Warning,
    /// Something failed.
    Error,
    /// Only with `-SD`.
    Debug,
    /// Only with `-SV`.
    Trace,
}

/// One line; its `Display` is the text.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A channel came into being.
    ChannelCreated {
        /// Its name.
        channel: &'a [u8],
    },
}
