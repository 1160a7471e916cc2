//! What the two conversions of sound share: a windowed sinc and a fast dot product.

use std::f64::consts::PI;

/// `sin(pi x) / (pi x)`, exactly 0 at the other integers.
pub(super) fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else if x.fract() == 0.0 {
        0.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// The Kaiser window over `-1..=1`; 0 outside. A `beta` of 8 keeps side lobes 80 dB down, 9 90 dB.
pub(super) fn kaiser(x: f64, beta: f64) -> f64 {
    if x.abs() > 1.0 {
        return 0.0;
    }
    bessel_i0(beta * (1.0 - x * x).sqrt()) / bessel_i0(beta)
}

/// The sum of products, in eight lanes so that the compiler can use vector registers. The order of additions is fixed,
/// so the result is the same wherever it runs.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0f32; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// The nearest sample value.
pub(super) fn quantize(x: f32) -> i16 {
    x.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16
}

/// The modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let mut sum = 1.0;
    let mut term = 1.0;
    for k in 1..60 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

/// Tools for the tests of sound.
#[cfg(test)]
pub(super) mod testing {
    use std::f64::consts::TAU;

    /// A sine of amplitude 20000 at `hz`, sampled at `rate`.
    pub(in crate::timeline) fn tone(hz: f64, rate: f64, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| (20_000.0 * (TAU * hz * n as f64 / rate).sin()).round() as i16).collect()
    }

    /// How far (in dB) everything but `hz` lies below it. Whole cycles of `hz` should fit.
    pub(in crate::timeline) fn purity_db(samples: &[i16], hz: f64, rate: f64) -> f64 {
        let basis = |n: usize| (TAU * hz * n as f64 / rate).sin_cos();
        let scale = 2.0 / samples.len() as f64;
        let (mut s, mut c) = (0.0, 0.0);
        for (n, &x) in samples.iter().enumerate() {
            let (sin, cos) = basis(n);
            s += scale * sin * f64::from(x);
            c += scale * cos * f64::from(x);
        }
        let residual: f64 = samples
            .iter()
            .enumerate()
            .map(|(n, &x)| {
                let (sin, cos) = basis(n);
                (f64::from(x) - s * sin - c * cos).powi(2)
            })
            .sum();
        let signal = samples.len() as f64 * (s * s + c * c) / 2.0;
        10.0 * (signal / residual).log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_one_in_the_middle_and_small_at_the_edge() {
        assert_eq!(kaiser(0.0, 9.0), 1.0);
        assert!(kaiser(1.0, 9.0) < 0.002);
        assert_eq!(kaiser(1.01, 9.0), 0.0);
    }

    #[test]
    fn lanes_sum_everything() {
        for len in 0..40usize {
            let a: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let b = vec![2f32; len];
            assert_eq!(dot(&a, &b), (len * len.saturating_sub(1)) as f32);
        }
    }
}
