//! Times that can be used: spans that last, in order, without overlap, inside their stretch.

/// Gives every span `shortest` seconds at least, between `from` and `to`, none beginning before
/// the one before it has ended. What fits already stays as it is. Where there is not room for all
/// of them, all are as short as they must be.
pub(super) fn lasting(spans: &mut [(f64, f64)], shortest: f64, from: f64, to: f64) {
    let room = (to - from).max(0.0);
    let shortest = shortest.min(room / spans.len().max(1) as f64);
    let mut at = from;
    for index in 0..spans.len() {
        let next = spans.get(index + 1).map_or(f64::INFINITY, |next| next.0);
        let (start, end) = &mut spans[index];
        *start = start.max(at);
        *end = end.min(next).max(*start + shortest);
        at = *end;
    }
    let mut limit = to;
    for (start, end) in spans.iter_mut().rev() {
        *end = end.min(limit);
        *start = start.min(*end - shortest);
        limit = *start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting_of(spans: &[(f64, f64)], shortest: f64, to: f64) -> Vec<(f64, f64)> {
        let mut spans = spans.to_vec();
        lasting(&mut spans, shortest, 0.0, to);
        spans
    }

    fn hold(spans: &[(f64, f64)], shortest: f64, to: f64) -> bool {
        let slack = 1e-9;
        spans.iter().all(|(start, end)| end - start >= shortest - slack)
            && spans.windows(2).all(|pair| pair[0].1 <= pair[1].0 + slack)
            && spans.first().is_none_or(|first| first.0 >= -slack)
            && spans.last().is_none_or(|last| last.1 <= to + slack)
    }

    #[test]
    fn what_fits_stays() {
        let spans = [(0.1, 0.5), (0.5, 0.9), (1.5, 2.0)];
        assert_eq!(lasting_of(&spans, 0.02, 2.0), spans);
    }

    #[test]
    fn whatever_comes_in_what_comes_out_lasts_in_order() {
        let many_at_once = vec![(4.9, 4.9); 17];
        for spans in [
            vec![],
            vec![(5.0, 5.0)],
            vec![(7.0, 9.0)],
            vec![(1.0, 3.0), (2.0, 2.5), (2.1, 2.1)],
            vec![(2.0, 3.0), (1.0, 1.5), (0.0, 0.0)],
            many_at_once,
            vec![(0.0, 0.0); 5],
        ] {
            for (shortest, to) in [(0.02, 5.0), (0.2, 5.0)] {
                let out = lasting_of(&spans, shortest, to);
                assert!(hold(&out, shortest, to), "{spans:?} -> {out:?}");
            }
        }
    }

    #[test]
    fn without_room_they_share_what_there_is() {
        let out = lasting_of(&[(0.0, 0.0); 10], 0.4, 2.0);
        assert!(hold(&out, 0.2, 2.0), "{out:?}");
        assert_eq!(lasting_of(&[(1.0, 2.0)], 0.4, 0.0), [(0.0, 0.0)]);
    }
}
