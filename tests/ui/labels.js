// Labels of charts that lie over one another, or reach out of their chart. Numbers in circles may meet: the table names them.
() =>
  [...document.querySelectorAll("svg.chart")].flatMap((chart) => {
    const frame = chart.getBoundingClientRect();
    const texts = [...chart.querySelectorAll("text:not(.bubble-text)")].map((text) => [text.textContent, text.getBoundingClientRect()]);
    const inside = (b) => b.left >= frame.left - 1 && b.right <= frame.right + 1 && b.top >= frame.top - 1 && b.bottom <= frame.bottom + 1;
    const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2;
    return [
      ...texts.filter(([, box]) => !inside(box)).map(([text]) => `outside: ${text}`),
      ...texts.flatMap(([one, a], i) => texts.slice(i + 1).filter(([, b]) => meet(a, b)).map(([other]) => `over one another: ${one} | ${other}`)),
    ];
  });
