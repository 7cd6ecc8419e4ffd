/** The rules of `npm run lint`: what is likely a mistake; what it looks like is Prettier's. */

import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    files: ["robustkit/explorer/static/*.js"],
    languageOptions: { globals: globals.browser, sourceType: "module" },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      eqeqeq: "error",
      "no-alert": "error",
      "no-console": "error",
      "no-else-return": "error",
      "no-eval": "error",
      "no-implicit-coercion": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      // Text goes in as text: see elements.js.
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({
          property,
        })),
      ],
      "no-self-compare": "error",
      "no-shadow": "error",
      "no-unused-private-class-members": "error",
      "no-use-before-define": [
        "error",
        { functions: false, classes: false, variables: false },
      ],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
];
