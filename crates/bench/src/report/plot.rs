//! A line plot as inline SVG.

use std::fmt::Write as _;

use super::quantity::number;

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 86.0;
const RIGHT: f64 = 34.0;
/// Room for the names of several lines.
const NAMES: f64 = 130.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;

/// Line colours, which differ in lightness too.
const COLOURS: [&str; 6] = ["#0b6e99", "#d1495b", "#2e933c", "#8d5a97", "#c77b00", "#4a4a4a"];

/// How positions grow along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// By differences, from zero.
    Linear,
    /// By factors.
    Logarithmic,
}

/// A line with its name.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x_label: String,
    pub(super) y_label: String,
    pub(super) x_scale: Scale,
    pub(super) y_scale: Scale,
    /// Marks on the x axis and what they say; chosen from the points when empty.
    pub(super) x_marks: Vec<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let usable = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) = usable.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let (low, high) = match scale {
            Scale::Linear => (
                low.min(0.0),
                if high > low.min(0.0) { high } else { low.min(0.0) + 1.0 },
            ),
            Scale::Logarithmic if high > low => (low, high),
            Scale::Logarithmic => (low / 2.0, high * 2.0),
        };
        Axis {
            scale,
            low,
            high,
            from,
            to,
        }
    }

    /// Where a value lies; values out of the axis lie at its ends.
    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values along the axis.
    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_step((self.high - self.low) / 5.0);
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step).floor() as i64;
                (first..=last).map(|index| index as f64 * step).collect()
            }
            Scale::Logarithmic => {
                let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
                let factors: &[f64] = if decades.clone().count() > 4 {
                    &[1.0]
                } else {
                    &[1.0, 2.0, 5.0]
                };
                let all = decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)));
                all.filter(|tick| (self.low * 0.999..=self.high * 1.001).contains(tick))
                    .collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, not below a value.
fn round_step(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * decade >= value * 0.999);
    factor.unwrap_or(10.0) * decade
}

/// Text in which nothing is markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

impl Plot {
    /// Where the plot ends, and names of lines begin if there are several.
    fn right(&self) -> f64 {
        if self.lines.len() > 1 {
            WIDTH - NAMES
        } else {
            WIDTH - RIGHT
        }
    }

    /// The SVG element.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let marks = self.x_marks.iter().map(|(at, _)| *at);
        let x = Axis::new(self.x_scale, points().map(|(x, _)| *x).chain(marks), LEFT, self.right());
        let y = Axis::new(self.y_scale, points().map(|(_, y)| *y), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
             <text x=\"{LEFT}\" y=\"18\" class=\"title\">{title}</text>\n",
            title = escape(&self.title)
        );
        self.draw_axes(&mut svg, &x, &y);
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let path: Vec<String> = line
                .points
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", x.place(*at), y.place(*value)))
                .collect();
            let _ = writeln!(svg, "<polyline points=\"{}\" stroke=\"{colour}\"/>", path.join(" "));
            if line.points.len() <= 20 {
                for (at, value) in &line.points {
                    let (cx, cy, text) = (x.place(*at), y.place(*value), number(*value));
                    let _ = writeln!(
                        svg,
                        "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\" fill=\"{colour}\"><title>{text}</title></circle>"
                    );
                }
            }
            if self.lines.len() > 1 {
                let (left, name) = (self.right() + 14.0, escape(&line.name));
                let top = TOP + 14.0 * (index as f64 + 1.0);
                let _ = writeln!(
                    svg,
                    "<text x=\"{left}\" y=\"{top}\" style=\"fill: {colour}\">{name}</text>"
                );
            }
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let (bottom, right) = (HEIGHT - BOTTOM, self.right());
        for tick in y.ticks() {
            let (at, text) = (y.place(tick), number(tick));
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" class=\"grid\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        let chosen = || x.ticks().into_iter().map(|tick| (tick, number(tick))).collect();
        let marks: Vec<(f64, String)> = if self.x_marks.is_empty() {
            chosen()
        } else {
            self.x_marks.clone()
        };
        for (tick, text) in marks {
            let at = x.place(tick);
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{bottom}\" x2=\"{at:.1}\" y2=\"{:.1}\" class=\"axis\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 5.0,
                bottom + 18.0,
                escape(&text)
            );
        }
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\" class=\"axis\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" class=\"label\">{}</text>\
             <text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" class=\"label\" transform=\"rotate(-90 14 {:.1})\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0,
            escape(&self.x_label),
            f64::midpoint(TOP, bottom),
            f64::midpoint(TOP, bottom),
            escape(&self.y_label)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_ticks() {
        let linear = Axis::new(Scale::Linear, [3.0, 97.0].into_iter(), 0.0, 100.0);
        assert_eq!(linear.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert!((linear.place(97.0) - 100.0).abs() < 1e-9 && linear.place(-5.0).abs() < 1e-9);
        let logarithmic = Axis::new(Scale::Logarithmic, [1.0, 0.0, 100_000.0].into_iter(), 0.0, 5.0);
        assert_eq!(logarithmic.ticks(), [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]);
        assert!((logarithmic.place(1_000.0) - 3.0).abs() < 1e-9);
        assert_eq!((round_step(3.0), round_step(0.07), round_step(20.0)), (5.0, 0.1, 20.0));
    }

    #[test]
    fn degenerate_data_is_drawn_without_trouble() {
        for points in [
            vec![],
            vec![(5.0, 7.0)],
            vec![(0.0, 0.0), (0.0, 0.0)],
            vec![(f64::NAN, 1.0)],
        ] {
            for scale in [Scale::Linear, Scale::Logarithmic] {
                let plot = Plot {
                    title: "a < b".to_owned(),
                    x_label: String::new(),
                    y_label: String::new(),
                    x_scale: scale,
                    y_scale: scale,
                    x_marks: Vec::new(),
                    lines: vec![Line {
                        name: "\"n\"".to_owned(),
                        points: points.clone(),
                    }],
                };
                let svg = plot.svg();
                assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b"));
                assert!(!svg.contains("inf"), "{svg}");
            }
        }
    }
}
