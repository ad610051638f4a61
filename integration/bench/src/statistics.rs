//! Which number stands for many samples?

/// The value under which `share` of all samples lie; NaN for none.
pub(crate) fn percentile(samples: &[f64], share: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * share).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    percentile(samples, 50)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_samples() {
        let samples: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(percentile(&samples, 50), 10.0);
        assert_eq!(percentile(&samples, 95), 19.0);
        assert_eq!(percentile(&[7.0], 95), 7.0);
        assert!(percentile(&[], 50).is_nan());
    }
}
