//! Texts of options to values.

use super::options::{AUTO, Kind, OptionSpec};

/// Checks a text against its option and gives the form that [`super::Settings`] keeps: numbers
/// in plain digits, switches as `true` or `false`.
pub fn normalise(option: &OptionSpec, text: &str) -> Result<String, String> {
    match option.kind {
        Kind::Text | Kind::Secret | Kind::Path => Ok(text.to_owned()),
        Kind::Address => {
            let port = text.rsplit_once(':').map(|(_, port)| port);
            if text == "off" || port.is_some_and(|port| port.parse::<u16>().is_ok()) {
                Ok(text.to_owned())
            } else {
                Err(format!("is `{text}`: it must be address:port or `off`"))
            }
        }
        Kind::Choice(words) => {
            if words.contains(&text) {
                Ok(text.to_owned())
            } else {
                Err(format!("is `{text}`: it must be one of {}", words.join(", ")))
            }
        }
        Kind::Switch => match text {
            "true" | "on" | "yes" | "1" => Ok("true".into()),
            "false" | "off" | "no" | "0" => Ok("false".into()),
            _ => Err(format!("is `{text}`: it must be true or false")),
        },
        Kind::Day => match parse_day_ns(text) {
            Some(_) => Ok(text.to_owned()),
            None => Err(format!("is `{text}`: it must be a day such as 2000-01-31, 1678 to 2261")),
        },
        Kind::Bytes if option.default == AUTO && text == AUTO => Ok(AUTO.into()),
        Kind::Count | Kind::Bytes | Kind::Seconds => {
            let number = match option.kind {
                Kind::Bytes => parse_bytes(text)?,
                _ => text.parse().map_err(|_| format!("is `{text}`: it must be a whole number"))?,
            };
            if number < option.min {
                return Err(format!("is {number}: it must be at least {}", option.min));
            }
            Ok(number.to_string())
        }
    }
}

/// Bytes from a number with an optional unit: `4096`, `64MiB`, `1.5 GB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(split);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "tib" | "t" => 1 << 40,
        _ => return Err(format!("is `{text}`: units are kB, MB, GB, KiB, MiB, GiB")),
    };
    let wrong = || format!("is `{text}`: it must be a number of bytes, such as 64MiB");
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(wrong);
    }
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number * unit as f64;
    if bytes.is_finite() && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Start of a day such as `2000-01-31`, ns since 1970, UTC; `None` if there is no such day in
/// the years that 64-bit nanoseconds reach.
pub fn parse_day_ns(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let mut number = |digits: usize| -> Option<i64> {
        let part = parts.next()?;
        (part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse().ok())?
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    if !(1678..=2261).contains(&year) {
        return None;
    }
    crate::import::time::days_of(year, month, day).map(|days| days * 86_400_000_000_000)
}
