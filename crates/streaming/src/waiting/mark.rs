//! A mark on something: that it is in a queue, so that it is there once, or that something was said of it, so that it is said once.

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark(bool);

impl Mark {
    /// Sets it; false when it was set.
    #[inline]
    pub(crate) fn set(&mut self) -> bool {
        !std::mem::replace(&mut self.0, true)
    }

    /// Takes it away.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.0 = false;
    }

    /// Whether it is set.
    #[inline]
    pub(crate) fn is_set(self) -> bool {
        self.0
    }
}
