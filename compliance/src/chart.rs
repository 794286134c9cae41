//! Pictures for those who look before they read: bars, as SVG within the page.
//!
//! Drawn by `plotters`. The same numbers give the same bytes; no font, script or picture comes from elsewhere.

use plotters::prelude::*;

/// More bars than this cannot be told apart.
const MOST: usize = 400;

const COLORS: [RGBColor; 3] = [RGBColor(36, 87, 140), RGBColor(200, 121, 38), RGBColor(161, 42, 34)];

/// Bars of one or more series beside each other; `None` if there is nothing to see.
pub(crate) fn bars(title: &str, names: &[String], series: &[(&str, Vec<u64>)]) -> Option<String> {
    let highest = series.iter().flat_map(|(_, values)| values).max().copied().unwrap_or(0);
    if highest == 0 || names.is_empty() || names.len() > MOST {
        return None;
    }
    let mut svg = String::new();
    draw(&mut svg, title, names, series, highest).ok()?;
    // Within a page it needs no namespace, and a page of ours names no address at all.
    Some(svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""))
}

#[expect(clippy::cast_precision_loss, reason = "heights of bars, not figures: those stand in the table")]
fn draw(
    svg: &mut String,
    title: &str,
    names: &[String],
    series: &[(&str, Vec<u64>)],
    highest: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, (960, 220)).into_drawing_area();
    let width = names.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 14))
        .margin(6)
        .x_label_area_size(22)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..width, 0.0..highest as f64 * 1.08)?;
    let label = |at: &f64| {
        // Labels stand at whole numbers; the bar right of it is meant.
        let near = at.round();
        let whole = near >= 0.0 && (near - at).abs() < 1e-6;
        let index = if whole { format!("{near:.0}").parse().ok() } else { None };
        let name = index.and_then(|index: usize| names.get(index));
        name.cloned().unwrap_or_default()
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(names.len().min(8))
        .y_labels(4)
        .x_label_formatter(&label)
        .y_label_formatter(&|at: &f64| format!("{at:.0}"))
        .light_line_style(WHITE)
        .label_style(("sans-serif", 11))
        .draw()?;
    let each = 0.8 / series.len() as f64;
    for (nth, ((name, values), color)) in series.iter().zip(COLORS).enumerate() {
        let bars = values.iter().enumerate().map(|(at, value)| {
            let left = at as f64 + 0.1 + nth as f64 * each;
            Rectangle::new([(left, 0.0), (left + each, *value as f64)], color.filled())
        });
        let drawn = chart.draw_series(bars)?;
        drawn
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled()));
    }
    if series.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.filled())
            .label_font(("sans-serif", 11))
            .draw()?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_give_the_same_picture_and_names_are_escaped() {
        let names = ["<b>&".to_owned(), "two".to_owned()];
        let draw = || bars("A chart", &names, &[("n", vec![1, 2]), ("m", vec![3, 0])]).unwrap();
        assert_eq!(draw(), draw());
        assert!(draw().starts_with("<svg") && !draw().contains("<b>"), "{}", draw());
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(bars("A chart", &["a".to_owned()], &[("n", vec![0])]), None);
        assert_eq!(bars("A chart", &[], &[]), None);
    }
}
