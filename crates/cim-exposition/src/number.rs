//! A value as the library of the original program writes it.
//!
//! Shortest digits that give the same number again, an exponent from one million up and below one ten-thousandth.

use std::fmt;

/// Displays a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

/// From here on with an exponent.
const LARGE: i32 = 6;
/// Below this power of ten with an exponent.
const SMALL: i32 = -4;

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        if value == 0.0 {
            return f.write_str("0");
        }
        let text = format!("{value:e}");
        let Some((digits, exponent)) = text.split_once('e') else { return f.write_str(&text) };
        let exponent: i32 = exponent.parse().unwrap_or_default();
        if (SMALL..LARGE).contains(&exponent) {
            return write!(f, "{value}");
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_original_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.5, "1.5"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.000_012, "1.2e-05"),
            (999_999.0, "999999"),
            (123_456.75, "123456.75"),
            (1e6, "1e+06"),
            (-1_234_567.0, "-1.234567e+06"),
            (12_345_678_901.0, "1.2345678901e+10"),
            (1.844_674_407_370_955_2e19, "1.8446744073709552e+19"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(Number(value).to_string(), text);
        }
    }
}
