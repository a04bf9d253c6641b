package main

import (
	"slices"

	"github.com/go-analyze/charts"
)

// The chart has the greatest width that a README shows without shrinking it.
const (
	chartWidth  = 800
	margin      = 28
	titleHeight = 100
	barHeight   = 17 // the height of a bar, with the space around it
	panelRest   = 36 // the further height of a panel, for its name
)

// svg draws the results, with one panel for each size or store. Each panel has
// its own scale: next to the bars of 16 kB, those of 200 B could not be seen.
// Each bar bears its number, so there are no axes of numbers.
func (r results) svg() ([]byte, error) {
	panelHeight := panelRest + barHeight*len(r.panels[0].columns)*len(r.inChart())
	height := titleHeight + panelHeight*len(r.panels) + margin/2
	theme := charts.GetTheme(charts.ThemeLight)
	p := charts.NewPainter(charts.PainterOptions{
		OutputFormat: charts.ChartOutputSVG, Width: chartWidth, Height: height, Theme: theme,
	})
	p.FilledRect(0, 0, chartWidth, height, charts.ColorWhite, charts.ColorWhite, 0) // on dark pages too
	font := charts.FontStyle{FontSize: 14, FontColor: theme.GetTitleTextColor()}
	p.Text(r.title+": less is better", margin, 30, 0, font)
	font.FontSize = 9
	for i, line := range []string{r.hardware, r.software, r.note} {
		p.Text(line, margin, 50+15*i, 0, font)
	}
	for i := range r.panels {
		top := titleHeight + panelHeight*i
		panel := p.Child(charts.PainterBoxOption(charts.NewBox(0, top, chartWidth, top+panelHeight)))
		if err := panel.BarChart(r.panel(i)); err != nil {
			return nil, err
		}
	}
	return p.Bytes()
}

// panel returns the bars of panel i.
func (r results) panel(i int) charts.BarChartOption {
	var values [][]float64
	var titles []string
	for _, c := range r.panels[i].columns {
		values, titles = append(values, r.bars(c)), append(titles, c.title)
	}
	bars := charts.NewSeriesListBar(values)
	for s := range bars {
		bars[s].Label.Show = charts.Ptr(true)
		bars[s].Label.ValueFormatter = func(f float64) string {
			if f == 0 { // not done
				return ""
			}
			return number(f)
		}
	}
	o := charts.NewBarChartOptionWithSeries(bars)
	o.Horizontal = true
	o.Title.Text = r.panels[i].name
	o.Padding = charts.NewBox(margin, 4, 60, 0) // on the right, for the number of the longest bar
	o.Legend.SeriesNames = titles
	o.Legend.Show = charts.Ptr(i == 0) // it holds for all
	o.Legend.Offset = charts.OffsetRight
	o.Legend.OverlayChart = charts.Ptr(true) // beside the name, so that it takes no room from the bars
	for _, i := range r.inChart() {
		o.CategoryAxis.Labels = append(o.CategoryAxis.Labels, r.names[i])
	}
	slices.Reverse(o.CategoryAxis.Labels)
	o.CategoryAxis.LabelFontStyle.FontSize = 10
	// The library measures text in its own font. The reader's font may be
	// wider, and must not run into the bars.
	o.CategoryAxis.LabelOffset.Left = -10
	o.ValueAxis = []charts.ValueAxisOption{{Show: charts.Ptr(false), Min: charts.Ptr(0.0)}}
	return o
}

// bars returns the values of a column for the chart, which draws them from the
// bottom to the top.
func (r results) bars(c column) []float64 {
	var values []float64
	for _, i := range r.inChart() {
		values = append(values, c.micros(i))
	}
	slices.Reverse(values)
	return values
}

// inChart returns the contenders in the chart, in the order of the table.
func (r results) inChart() []int {
	if r.charted != nil {
		return r.charted
	}
	all := make([]int, len(r.names))
	for i := range all {
		all[i] = i
	}
	return all
}
