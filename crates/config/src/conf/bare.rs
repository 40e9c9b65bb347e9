//! What a bare value is: number, truth value, time, or a string (core specification §5.1).

use super::Data;

/// Reads escapes of bare and double-quoted strings; the error is the offset of the escape and what is wrong.
pub(super) fn unescape(raw: &str) -> Result<String, (usize, String)> {
    if !raw.contains('\\') {
        return Ok(raw.to_owned());
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.as_bytes().get(at) {
        if byte != b'\\' {
            bytes.push(byte);
            at += 1;
            continue;
        }
        let (len, unescaped) = match raw.as_bytes().get(at + 1) {
            Some(b't') => (2, b'\t'),
            Some(b'n') => (2, b'\n'),
            Some(b'r') => (2, b'\r'),
            Some(b'"') => (2, b'"'),
            Some(b'\\') => (2, b'\\'),
            Some(b'x') => {
                let digits = raw.get(at + 2..at + 4).unwrap_or_default();
                let is_hexadecimal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                match u8::from_str_radix(digits, 16) {
                    Ok(byte) if is_hexadecimal => (4, byte),
                    _ => return Err((at, "'\\x' needs two hexadecimal digits".to_owned())),
                }
            }
            _ => {
                let escaped = raw[at + 1..].chars().next().map(String::from).unwrap_or_default();
                return Err((
                    at,
                    format!("invalid escape '\\{escaped}': only \\t \\n \\r \\\" \\\\ \\xHH are known"),
                ));
            }
        };
        bytes.push(unescaped);
        at += len;
    }
    String::from_utf8(bytes).map_err(|_| (0, "the escapes do not give valid UTF-8".to_owned()))
}

/// What a bare value without escapes and variables means.
pub(super) fn classify(raw: &str) -> Result<Data, String> {
    for (words, value) in [(["true", "yes", "on"], true), (["false", "no", "off"], false)] {
        if words.iter().any(|word| raw.eq_ignore_ascii_case(word)) {
            return Ok(Data::Bool(value));
        }
    }
    let unsigned = raw.strip_prefix('-').unwrap_or(raw);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return Ok(Data::Text(raw.to_owned()));
    }
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &unsigned[digits..];
    if let Some(factor) = suffix(rest) {
        let number = raw[..raw.len() - rest.len()].parse::<i64>().ok();
        return number
            .and_then(|number| number.checked_mul(factor))
            .map(Data::Int)
            .ok_or_else(|| format!("integer {raw} is out of range"));
    }
    let is_float = rest
        .strip_prefix('.')
        .is_some_and(|decimals| !decimals.is_empty() && decimals.bytes().all(|byte| byte.is_ascii_digit()));
    if is_float && let Ok(number) = raw.parse::<f64>() {
        return Ok(Data::Float(number));
    }
    Ok(match is_time(raw) {
        true => Data::Time(raw.to_owned()),
        false => Data::Text(raw.to_owned()),
    })
}

/// What a size suffix multiplies by; the empty one by 1.
fn suffix(text: &str) -> Option<i64> {
    let mut letters = text.bytes().map(|byte| byte.to_ascii_lowercase());
    let Some(first) = letters.next() else {
        return Some(1);
    };
    let exponent = b"kmgtpe".iter().position(|&known| known == first)? as u32 + 1;
    match (letters.next(), letters.next(), letters.next()) {
        (None, ..) => 1000_i64.checked_pow(exponent),
        (Some(b'b' | b'i'), None, _) | (Some(b'i'), Some(b'b'), None) => 1024_i64.checked_pow(exponent),
        _ => None,
    }
}

/// Whether a text has the form `YYYY-MM-DDTHH:MM:SSZ`.
fn is_time(text: &str) -> bool {
    let form = b"0000-00-00T00:00:00Z";
    text.len() == form.len()
        && text.bytes().zip(form).all(|(byte, &expected)| match expected {
            b'0' => byte.is_ascii_digit(),
            _ => byte == expected,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_words_and_strings() {
        let table = [
            ("0", Data::Int(0)),
            ("-12", Data::Int(-12)),
            ("007", Data::Int(7)),
            ("1k", Data::Int(1000)),
            ("1KB", Data::Int(1024)),
            ("1Ki", Data::Int(1024)),
            ("1kib", Data::Int(1024)),
            ("-3MB", Data::Int(-3 << 20)),
            ("2m", Data::Int(2_000_000)),
            ("5g", Data::Int(5_000_000_000)),
            ("1e", Data::Int(1_000_000_000_000_000_000)),
            ("7EB", Data::Int(7 << 60)),
            ("-9223372036854775808", Data::Int(i64::MIN)),
            ("1.5", Data::Float(1.5)),
            ("-0.25", Data::Float(-0.25)),
            ("YES", Data::Bool(true)),
            ("Off", Data::Bool(false)),
            ("2024-01-02T03:04:05Z", Data::Time("2024-01-02T03:04:05Z".into())),
        ];
        for (raw, data) in table {
            assert_eq!(classify(raw), Ok(data), "{raw}");
        }
        for raw in [
            "20s",
            "3secret",
            "4222abc",
            "127.0.0.1:4222",
            "0.0.0.0:-1",
            "+1",
            "0x10",
            "1_000",
            "1.",
            "1.5h",
            "1.5k",
            "1e3",
            "1kbb",
            "1kk",
            "-",
            "-a",
            "yess",
            "::1",
            "é",
            "1é",
            "2024-01-02T03:04:05",
            "2024-01-02",
            "12:00",
        ] {
            assert_eq!(classify(raw), Ok(Data::Text(raw.into())), "{raw}");
        }
        for raw in ["9223372036854775808", "10e", "8eb"] {
            assert!(classify(raw).unwrap_err().contains("out of range"), "{raw}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(r#"a\t\n\r\"\\\x41\xc3\xa9é"#), Ok("a\t\n\r\"\\Aéé".into()));
        for (raw, at) in [
            (r"ab\q", 2),
            (r"\x4", 0),
            (r"\x+1", 0),
            (r"\", 0),
            (r"\é", 0),
            (r"\xé", 0),
            (r"a\xff", 0),
        ] {
            assert_eq!(unescape(raw).unwrap_err().0, at, "{raw}");
        }
    }
}
