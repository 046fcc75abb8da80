// Starts Swagger UI. An earlier version of the page stored the password in localStorage.
localStorage.removeItem("authorized");

SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: document.querySelector("#swagger-ui").dataset.url,
  validatorUrl: null,
  tryItOutEnabled: true,
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
});
