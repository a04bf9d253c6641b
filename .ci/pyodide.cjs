// Runs a file in the Python that the npm package pyodide has, as a Python interpreter would: node pyodide.cjs FILE
const { readFileSync } = require("node:fs");
const { loadPyodide } = require("pyodide");

loadPyodide()
  .then((pyodide) => pyodide.runPython(readFileSync(process.argv[2], "utf8")))
  .catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
