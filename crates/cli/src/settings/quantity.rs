//! Quantities as settings have them: sizes and parts of a whole.

use std::str::FromStr;

/// The units of sizes, in bytes.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// A size in bytes, such as `512MiB` or `10GB`. A number alone is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit = UNITS.iter().find(|(name, _)| text.ends_with(name));
        let (number, bytes) = match unit {
            Some((name, bytes)) => (text[..text.len() - name.len()].trim_end(), *bytes),
            None => (text, 1),
        };
        let number: u64 = number
            .parse()
            .map_err(|_| "write a whole number and a unit, such as 512MiB or 10GB")?;
        let size = number.checked_mul(bytes);
        size.map(Self).ok_or("it is larger than anything")
    }
}

/// A part of a whole in hundredths, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent(u32);

impl Percent {
    /// Returns it as a part of 1.
    pub(crate) fn part(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.strip_suffix('%').unwrap_or(text);
        let percent = percent.parse().ok();
        let percent = percent.filter(|percent| (1..=100).contains(percent));
        percent.map(Self).ok_or("write hundredths, 1 to 100")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_two_and_of_ten() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("4096B", 4_096),
            ("512MiB", 512 << 20),
            ("10 GiB", 10 << 30),
            ("10GB", 10_000_000_000),
            ("3kB", 3_000),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for wrong in ["", "GiB", "1.5GiB", "-1", "10 gib", "20000000TiB"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_part_is_of_a_hundred() {
        let part = |text: &str| text.parse::<Percent>().map(Percent::part);
        assert_eq!((part("80"), part("30%")), (Ok(0.8), Ok(0.3)));
        for wrong in ["0", "101", "0.8", "many"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }
}
