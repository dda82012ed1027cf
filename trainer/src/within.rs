//! How settings are refused.

/// Refuses a value that is not finite or not within its range: key, value, what is expected, whether it is.
pub(crate) type Within = dyn Fn(&str, f64, &str, bool) -> std::result::Result<(), String>;
