//! Of which day are the sources? `SOURCE_DATE_EPOCH`, so that two builds write the same.

use anyhow::{Context, Result};

/// A moment in UTC.
pub(crate) struct Date {
    /// Such as 2026-11-29.
    pub(crate) day: String,
    /// Such as 2026-11-29T10:23:05Z.
    pub(crate) moment: String,
}

/// The date of the sources.
pub(crate) fn of_source() -> Result<Date> {
    let text = std::env::var("SOURCE_DATE_EPOCH").context("SOURCE_DATE_EPOCH is not set; make sets it")?;
    Ok(of_epoch(text.trim().parse().with_context(|| format!("SOURCE_DATE_EPOCH {text:?} is no number of seconds"))?))
}

fn of_epoch(seconds: u64) -> Date {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let day = format!("{year:04}-{month:02}-{:02}", days + 1);
    let moment = format!("{day}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60);
    Date { day, moment }
}

#[cfg(test)]
mod tests {
    use super::of_epoch;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, moment) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (1_764_411_785, "2025-11-29T10:23:05Z"),
        ] {
            assert_eq!(of_epoch(seconds).moment, moment);
        }
    }
}
