//! Names that nobody else has.

/// 22 random base-62 characters.
pub(crate) fn token() -> String {
    (0..22).map(|_| fastrand::alphanumeric()).collect()
}
