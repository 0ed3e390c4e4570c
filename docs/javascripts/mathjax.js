// Formulas are what the Markdown extension arithmatex marks, nothing else on a page.
window.MathJax = {
  tex: { inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]] },
  options: {
    ignoreHtmlClass: ".*",
    processHtmlClass: "arithmatex",
    enableMenu: false, // its further parts are fetched from elsewhere
  },
};
